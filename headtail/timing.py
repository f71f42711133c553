"""The one latency protocol: warm-up, N runs, p50/p90/p99 and a trimmed mean, in milliseconds.

Percentiles are nearest-rank: p is the ceil(p/100 * N)-th smallest sample, so every figure was
really measured and nothing is interpolated. The trimmed mean is the mean of the middle 80 %, one
tenth dropped at each end, as ExecuTorch's Android benchmark does
(https://github.com/pytorch/executorch/pull/8919).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headtail.errors import UnknownName, UsageFault

__all__ = ["TIMING_KINDS", "Timing", "measure", "summarize"]

# where a figure was taken; an emulated one shows that something runs, never how fast
TIMING_KINDS = ("host", "emulated", "device")
TRIM = 0.1  # fraction dropped at each end


@dataclass(frozen=True)
class Timing:
    """Latency of one thing; `runs` counts the samples behind the figures, `warmup` those before."""

    kind: str
    runs: int
    warmup: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    trimmed_mean_ms: float
    min_ms: float

    def __post_init__(self) -> None:
        if self.kind not in TIMING_KINDS:
            raise UnknownName("timing kind", self.kind, TIMING_KINDS)


def measure(
    run: Callable[[], object],
    *,
    kind: str = "host",
    warmup: int = 3,
    runs: int = 20,
    before: Callable[[], object] = lambda: None,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> Timing:
    """Call `run` `warmup` + `runs` times and summarize the last `runs`.

    `before` is called before each of them, outside the time. `clock_ns` is a monotonic clock in
    nanoseconds. What `run` and `before` raise is not caught.
    """
    if warmup < 0 or runs < 1:
        raise UsageFault(
            f"{warmup} warm-up runs and {runs} timed runs were asked for.",
            expected="At least 0 warm-up runs and 1 timed run.",
            remedy="Correct the counts.",
        )
    for _ in range(warmup):
        before()
        run()
    samples_ms = []
    for _ in range(runs):
        before()
        start = clock_ns()
        run()
        samples_ms.append((clock_ns() - start) / 1e6)
    return summarize(samples_ms, kind=kind, warmup=warmup)


def summarize(samples_ms: Sequence[float], *, kind: str, warmup: int) -> Timing:
    """The figures of samples taken elsewhere (on a phone, or interleaved A B A B)."""
    ordered = sorted(samples_ms)
    if not ordered or not all(math.isfinite(ms) and ms >= 0 for ms in ordered):
        raise UsageFault(
            f"{len(ordered)} latency samples, some missing, negative or not finite.",
            expected="At least one sample, each a finite number of milliseconds.",
            remedy="Measure again.",
        )
    drop = int(len(ordered) * TRIM)
    middle = ordered[drop : len(ordered) - drop]
    return Timing(
        kind=kind,
        runs=len(ordered),
        warmup=warmup,
        p50_ms=_nearest_rank(ordered, 50),
        p90_ms=_nearest_rank(ordered, 90),
        p99_ms=_nearest_rank(ordered, 99),
        trimmed_mean_ms=math.fsum(middle) / len(middle),
        min_ms=ordered[0],
    )


def _nearest_rank(ordered: Sequence[float], percent: int) -> float:
    # in whole numbers: 0.99 * 100 in floats is not always 99
    return ordered[-(-percent * len(ordered) // 100) - 1]

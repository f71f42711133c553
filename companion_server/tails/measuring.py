"""Milliseconds of each segment by number of samples, measured in a bounded time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from headtail.tensors import Array

if TYPE_CHECKING:
    import torch

    from companion_server.tails.chain import Chain, Runs
    from companion_server.tails.proof import Golden

    Tensors = tuple[torch.Tensor, ...]

__all__ = ["SIZES", "Times", "measure_chain", "run_ms", "tensors"]

SIZES = (1, 2, 4, 8, 16)
RUNS = 3
Times = dict[int, float]  # samples -> ms


def measure_chain(
    chain: Chain, golden: Golden, sizes: Sequence[int], *, within_s: float
) -> list[Times]:
    """Median ms of every segment at each of `sizes`, as far as `within_s` reaches.

    The first size is always measured. A size is left out, and those after it, if in proportion to
    the one before it would take longer than what is left.
    """
    times: list[Times] = [{} for _ in chain.segments]
    began, before_s, before = time.perf_counter(), 0.0, 1
    for size in sizes:
        left_s = within_s - (time.perf_counter() - began)
        if before_s * size / before > left_s and times[0]:
            break
        values = tensors(golden.batch(chain.entries[0], size))
        held: list[list[float]] = []
        for _ in range(RUNS):
            held.append(_run_timed(chain, values))
            if time.perf_counter() - began > within_s:
                break
        for place, found in enumerate(zip(*held, strict=True)):
            times[place][size] = statistics.median(found)
        before_s, before = RUNS * sum(held[-1]) / 1e3, size
    return times


def run_ms(runs: Runs, values: Tensors) -> tuple[float, Tensors]:
    """How long one run takes, and what it gives."""
    began = time.perf_counter()
    outputs = runs(*values)
    return (time.perf_counter() - began) * 1e3, outputs


def tensors(arrays: Sequence[Array]) -> Tensors:
    """Arrays that may be written to, as tensors of the same memory."""
    import torch

    return tuple(torch.from_numpy(array) for array in arrays)


def _run_timed(chain: Chain, values: Tensors) -> list[float]:
    found = []
    for segment in chain.segments:
        ms, values = run_ms(segment.runs, values)
        found.append(ms)
    return found

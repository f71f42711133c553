"""The demo's second half: the exported bundle served, run split, and its server killed in mid-run.

Everything is the real thing on one machine: the server is its own process on loopback, the head
runs on the phone runtime, the boundary crosses the wire in its codec. Times are host times.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from headtail.bundle import Bundle
from headtail.errors import EnvironmentFault, GateFailed
from headtail.manifest import FORWARD, Cut, Manifest
from headtail.metrics import top1_agreement, wilson_interval
from headtail.offload.client import Companion
from headtail.offload.engine import SplitEngine
from headtail.runtimes.base import Session
from headtail.tensors import Array

__all__ = ["Fallback", "Split", "demo_cut", "run_fallback", "run_split", "serving"]

CODEC = "aq8t+deflate"
DEADLINE_MS = 1000.0
# Ten segments of 1,460 bytes: what a cold connection sends in its first flight (RFC 6928).
FIRST_FLIGHT_BYTES = 14_600


@dataclass(frozen=True)
class Split:
    """Split against local on the same inputs, alternating. `agreement` is with the fp32 model.

    `added_ms_p50`: total minus head minus the server's own compute, so codec, HTTP and loopback.
    `bytes_on_wire`: median of one request's body with its headers; `fp32_bytes`: the raw tensors.
    """

    cut: str
    codec: str
    n: int
    agreement: float
    low: float
    high: float
    local_ms_p50: float
    split_ms_p50: float
    added_ms_p50: float
    bytes_on_wire: int
    fp32_bytes: int


@dataclass(frozen=True)
class Fallback:
    """The server was killed after `before` inputs; every later one had to be answered locally."""

    before: int
    asked: int
    answered: int
    right: int
    in_time: int
    marked_lost: int
    deadline_ms: float
    slowest_ms: float


@dataclass(frozen=True)
class Served:
    """A running companion server."""

    url: str
    process: subprocess.Popen[str]

    def kill(self) -> None:
        """End it without a word, as a power cut would: all of its processes at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def serving(bundle: Path) -> Iterator[Served]:
    """A companion server with processes of its own, on a free loopback port, ready.

    Without TLS and keys, which loopback needs neither of: what is measured is the split.
    """
    own = {"PORT": "0", "TLS": "false", "AUTH": "false"}
    with tempfile.TemporaryDirectory(prefix="headtail-demo-") as folder:
        yield from _serving(bundle, {**own, "STATE_DIR": folder}, folder)


def _serving(bundle: Path, own: Mapping[str, str], folder: str) -> Iterator[Served]:
    settings = {f"HEADTAIL_SERVER_{name}": value for name, value in own.items()}
    process = subprocess.Popen(
        [sys.executable, "-m", "companion_server", str(bundle)],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **settings, "OMP_NUM_THREADS": "1", "TMPDIR": folder},
        start_new_session=True,  # a group of its own, to be ended as one
    )
    try:
        yield Served(_address(process.stdout), process)
    finally:
        process.terminate()
        process.wait()
        if process.stdout:
            process.stdout.close()


def _address(output: IO[str] | None) -> str:
    line = output.readline() if output else ""
    if "listening on " not in line:
        raise EnvironmentFault(
            f"The companion server did not start (it said {line.strip()!r}).",
            expected="It prints its address once its tails are loaded.",
            remedy="Run headtail serve with the bundle and read its error.",
        )
    return line.split("listening on ", 1)[1].strip()


def demo_cut(manifest: Manifest) -> Cut:
    """The cut with the least work on the phone whose frame fits a connection's first flight."""
    fitting = [cut for cut in manifest.cuts if cut.wire_bytes[CODEC] <= FIRST_FLIGHT_BYTES]
    if not fitting:
        return min(manifest.cuts, key=lambda cut: cut.wire_bytes[CODEC])
    return min(fitting, key=lambda cut: cut.head_flops)


def run_split(
    bundle: Bundle,
    session: Session,
    url: str,
    samples: Sequence[Sequence[Array]],
    *,
    expected: Sequence[Array],
) -> Split:
    """Every sample locally and split, A B A B; raises `GateFailed` if one was not split."""
    cut = demo_cut(bundle.manifest)
    local_ms, answers = [], []
    companion = Companion(url)
    engine = SplitEngine(
        bundle, session, companion=companion, cut=cut.id, codec=CODEC, deadline_ms=DEADLINE_MS
    )
    try:
        engine.answer(samples[0])  # opens the connection
        for sample in samples:
            start = time.perf_counter()
            session.run(FORWARD, sample)
            local_ms.append((time.perf_counter() - start) * 1e3)
            answers.append(engine.answer(sample))
    finally:
        engine.close()
        companion.close()
    strays = [answer for answer in answers if answer.where != "split"]
    if strays:
        raise GateFailed(
            f"{len(strays)} of {len(answers)} inputs were not split ({strays[0].where}).",
            expected="With the server up every input is split.",
            remedy=strays[0].reason,
        )
    same = top1_agreement(reference=list(expected), candidate=[a.outputs[0] for a in answers])
    low, high = wilson_interval(same, len(answers))
    added = [a.total_ms - a.head_ms - a.server.get("compute_ms", 0.0) for a in answers]
    return Split(
        cut=cut.id,
        codec=CODEC,
        n=len(answers),
        agreement=same / len(answers),
        low=low,
        high=high,
        local_ms_p50=statistics.median(local_ms),
        split_ms_p50=statistics.median(a.total_ms for a in answers),
        added_ms_p50=statistics.median(added),
        bytes_on_wire=int(statistics.median(a.bytes_up for a in answers)),
        fp32_bytes=sum(spec.nbytes for spec in cut.tensors),
    )


def run_fallback(
    bundle: Bundle,
    session: Session,
    served: Served,
    samples: Sequence[Sequence[Array]],
    *,
    expected: Sequence[Array],
) -> Fallback:
    """Kill the server half way; count who was still answered, rightly, in time and marked so."""
    cut, half = demo_cut(bundle.manifest), len(samples) // 2
    companion = Companion(served.url)
    engine = SplitEngine(
        bundle, session, companion=companion, cut=cut.id, codec=CODEC, deadline_ms=DEADLINE_MS
    )
    try:
        for sample in samples[:half]:
            engine.answer(sample)
        served.kill()
        later = [engine.answer(sample) for sample in samples[half:]]
    finally:
        engine.close()
        companion.close()
    right = top1_agreement(
        reference=list(expected[half:]), candidate=[answer.outputs[0] for answer in later]
    )
    return Fallback(
        before=half,
        asked=len(later),
        answered=sum(answer.where.startswith("local") for answer in later),
        right=right,
        in_time=sum(answer.total_ms <= DEADLINE_MS for answer in later),
        marked_lost=sum(answer.where == "local (server lost)" for answer in later),
        deadline_ms=DEADLINE_MS,
        slowest_ms=max(answer.total_ms for answer in later),
    )

"""One cell: load, first run, the golden vectors, and only then the clock.

A time of a wrong answer is no latency: whatever misses its gate is a failed cell and is not timed.
The runs are those of `headtail.timing`, over the bundle's real inputs in turn, so that no cache
serves one input for ever.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from app.benchmark.matrix import Cell
from app.machine.facts import Condition
from headtail.bundle import Bundle
from headtail.errors import HeadtailError
from headtail.golden import GoldenSet, gate_db, snrs_db, worthless
from headtail.manifest import FORWARD, Artifact, Entry
from headtail.runtimes.base import Runtime, Session
from headtail.runtimes.memory import growth_since, resident_bytes
from headtail.tensors import Array, check_arrays
from headtail.timing import Timing, measure

__all__ = ["CELL_STEPS", "Cancelled", "Effort", "Measured", "Verdict", "judged", "load", "measured"]

CELL_STEPS = 2  # of a cell's progress: loading and checking, besides its runs


class Cancelled(Exception):
    """The person did not want to wait any longer."""


@dataclass(frozen=True)
class Effort:
    """How often each cell is run: `warmup` untimed, then `runs` timed."""

    warmup: int = 3
    runs: int = 30


@dataclass(frozen=True)
class Verdict:
    """The golden vectors through one entry point: `samples` of them, their minimum SNR in dB
    against fp32 PyTorch (clamped for JSON), the gate (None: reported, not judged) and what is
    wrong, "" if nothing is."""

    samples: int
    snr_db_min: float
    gate_db: float | None
    fault: str


@dataclass(frozen=True)
class Measured:
    """What became of a cell. `fault` is "" or why there is no timing; times in ms.

    `load_ms` and `first_ms` are one measurement each: files of a second load are in the system's
    cache. `memory_bytes` is by how much the process grew until the golden vectors were through, or
    what the session says if that is more; what an earlier load left free is not seen again.
    """

    cell: Cell
    fault: str
    runtime_version: str
    load_ms: float | None
    first_ms: float | None
    timing: Timing | None
    memory_bytes: int | None
    verdict: Verdict | None
    before: Condition
    after: Condition


def measured(
    cell: Cell,
    golden: GoldenSet,
    runtime: Runtime,
    *,
    effort: Effort,
    condition: Callable[[], Condition],
    tick: Callable[[], None] = lambda: None,
) -> Measured:
    """Run one cell of `golden.bundle`. A runtime's own failure is a failed cell, told in its words.

    `tick` is called after each step and run; it may raise `Cancelled`, which passes through.
    """
    before = condition()
    trial = _Trial(cell, golden, runtime, tick)
    try:
        trial.run(effort)
    except Cancelled:
        raise
    except HeadtailError as error:
        trial.fault = str(error)
    except Exception as error:  # whatever a runtime raises, the other cells are measured
        trial.fault = f"{type(error).__name__}: {error}"
    return Measured(
        cell=cell,
        fault=trial.fault,
        runtime_version=runtime.probe().version,
        load_ms=trial.load_ms,
        first_ms=trial.first_ms,
        timing=None if trial.fault else trial.timing,
        memory_bytes=trial.memory_bytes,
        verdict=trial.verdict,
        before=before,
        after=condition(),
    )


def load(cell: Cell, bundle: Bundle, runtime: Runtime) -> Session:
    """Load the cell's artifact; raises what the runtime raises."""
    artifact = bundle.manifest.artifact(cell.format, cell.precision)
    return runtime.load(
        bundle.artifact_path(artifact),
        entries={entry.name: (entry.inputs, entry.outputs) for entry in artifact.entries},
        threads=cell.threads,
        accelerator=cell.accelerator,
    )


def judged(
    session: Session,
    golden: GoldenSet,
    artifact: Artifact,
    entry: Entry,
    *,
    timing_kind: str,
    accelerator: str,
) -> Verdict:
    """Replay every golden sample through one entry point of a loaded artifact."""
    outputs: list[Sequence[Array]] = []
    for sample in range(golden.count):
        results = session.run(entry.name, golden.inputs(sample))
        check_arrays(results, entry.outputs)
        outputs.append(results)
    expected = [golden.expected(entry, sample) for sample in range(golden.count)]
    snr_db = min(snrs_db(expected, outputs))
    gate = gate_db(artifact, entry, timing_kind=timing_kind, accelerator=accelerator)
    fault = worthless(expected, outputs)
    if not fault and gate is not None and snr_db < gate:
        fault = f"wrong output: {snr_db:.1f} dB against fp32 PyTorch, the gate is {gate:.1f}"
    return Verdict(len(outputs), snr_db, gate, fault)


class _Trial:
    """What was found so far, so that a failure half-way keeps it."""

    def __init__(
        self,
        cell: Cell,
        golden: GoldenSet,
        runtime: Runtime,
        tick: Callable[[], None],
    ) -> None:
        self._cell, self._golden = cell, golden
        self._runtime, self._tick = runtime, tick
        self.fault = ""
        self.load_ms: float | None = None
        self.first_ms: float | None = None
        self.timing: Timing | None = None
        self.memory_bytes: int | None = None
        self.verdict: Verdict | None = None

    def run(self, effort: Effort) -> None:
        """Fill the fields, in this order; raises what the runtime raises."""
        cell = self._cell
        bundle = self._golden.bundle
        artifact = bundle.manifest.artifact(cell.format, cell.precision)
        resident = resident_bytes()
        started = time.perf_counter()
        session = load(cell, bundle, self._runtime)
        try:
            self.load_ms = _since(started)
            self._tick()
            self._check(session, artifact)
            told = (session.memory_bytes(), growth_since(resident))
            self.memory_bytes = max((b for b in told if b is not None), default=None)
            self._tick()
            if not self.fault:
                self._time(session, effort)
        finally:
            session.close()

    def _check(self, session: Session, artifact: Artifact) -> None:
        golden = self._golden
        started = time.perf_counter()
        session.run(FORWARD, golden.inputs(0))
        self.first_ms = _since(started)
        self.verdict = judged(
            session,
            golden,
            artifact,
            artifact.entry(FORWARD),
            timing_kind=self._runtime.timing_kind,
            accelerator=self._cell.accelerator,
        )
        self.fault = self.verdict.fault

    def _time(self, session: Session, effort: Effort) -> None:
        inputs = [self._golden.inputs(sample) for sample in range(self._golden.count)]
        turns: Iterator[Sequence[Array]] = itertools.cycle(inputs)
        feed: list[Sequence[Array]] = []
        # the next input is chosen, and progress told, outside what the clock sees
        self.timing = measure(
            lambda: session.run(FORWARD, feed[0]),
            kind=self._runtime.timing_kind,
            warmup=effort.warmup,
            runs=effort.runs,
            before=lambda: self._next(feed, turns),
        )

    def _next(self, feed: list[Sequence[Array]], turns: Iterator[Sequence[Array]]) -> None:
        feed[:] = [next(turns)]
        self._tick()


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1e3

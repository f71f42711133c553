"""Looks at bundles and measures their cells, on whatever thread it is called; no screen.

The app's presenter and its agent mode (`app.agent`) both measure by this.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.benchmark.matrix import Cell, LeftOut, Matrix, matrix_of, thread_choices
from app.benchmark.measure import CELL_STEPS, Cancelled, Effort, Measured, load, measured
from app.benchmark.records import SCHEMA_VERSION, Run, now_utc
from app.benchmark.state import Progress
from app.machine.facts import Condition, Machine, MachineFacts
from headtail import __version__
from headtail.bundle import Bundle, open_bundle, verify_files
from headtail.errors import HeadtailError
from headtail.golden import GoldenSet
from headtail.runtimes.base import Runtime

__all__ = ["COOL_DOWN_S", "Bench", "Course", "Survey"]

COOL_DOWN_S = 1.0  # between two cells, so that one does not pay for the heat of the one before
COOLEST_WAIT_S = 60.0  # longer than that a hot phone is not waited for; the table then says it
LOOK_EVERY_S = 1.0
TELL_EVERY_S = 0.1  # how often progress is told; a run may take a hundredth of that


@dataclass(frozen=True)
class Survey:
    """What can be measured: `bundles` by id, as they were opened."""

    matrix: Matrix
    bundles: dict[str, Bundle]
    machine: MachineFacts
    condition: Condition


@dataclass(frozen=True)
class Course:
    """How a run is made: how often each cell, the rest between them in seconds, and how to stop."""

    effort: Effort
    cool_down_s: float
    cancel: threading.Event

    @classmethod
    def usual(cls, runs: int, *, cool_down_s: float = COOL_DOWN_S) -> Course:
        """`runs` timed runs of each cell after the usual warm-up."""
        return cls(Effort(runs=runs), cool_down_s, threading.Event())


class Bench:
    """`runtimes()` are those of this platform, in its order of preference."""

    def __init__(self, runtimes: Callable[[], Sequence[Runtime]], machine: Machine) -> None:
        self._runtimes = runtimes
        self._machine = machine

    def survey(self, paths: Sequence[Path], *, threads: Sequence[int] | None = None) -> Survey:
        """The cells of these bundles, on `threads` or on as many as make sense here.

        A bundle that cannot be opened is among what is left out. Its files are compared with their
        hashes when it is measured, not now.
        """
        facts = self._machine.facts()
        runtimes = self._runtimes()
        capabilities = {runtime.name: runtime.probe() for runtime in runtimes}
        chosen = threads or thread_choices(facts.cores)
        matrix, bundles = Matrix(), {}
        for path in paths:
            try:
                bundle = open_bundle(path, check=False)
            except HeadtailError as error:
                matrix += Matrix((), (LeftOut(path.name, "the bundle", str(error)),))
                continue
            if bundle.manifest.bundle_id not in bundles:  # the same one may lie in two places
                bundles[bundle.manifest.bundle_id] = bundle
                matrix += matrix_of(bundle.manifest, runtimes, capabilities, threads=chosen)
        return Survey(matrix, bundles, facts, self._machine.condition())

    def run(
        self,
        survey: Survey,
        cells: Sequence[Cell],
        course: Course,
        *,
        tell: Callable[[Progress, Sequence[Measured]], None] = lambda _progress, _cells: None,
    ) -> Run:
        """Measure `cells`, one after the other; what was done so far if `course.cancel` is set.

        `tell` is called on this thread, about ten times a second, with the cells measured so far.
        """
        return _Lap(self._machine, survey, course, tell).run(self._runtimes(), cells)

    def leave_thread(self) -> None:
        """To be called at the end of a thread that measured."""
        self._machine.leave_thread()


class _Lap:
    """One run of the benchmark under way."""

    def __init__(
        self,
        machine: Machine,
        survey: Survey,
        course: Course,
        tell: Callable[[Progress, Sequence[Measured]], None],
    ) -> None:
        self._machine, self._survey, self._course, self._tell = machine, survey, course, tell
        self._cells: Sequence[Cell] = ()
        self._done: list[Measured] = []
        self._golden: dict[str, GoldenSet | HeadtailError | OSError] = {}
        self._warm: set[str] = set()  # runtimes that have loaded something
        self._ticks = 0  # of the cell in work
        self._started = self._told = time.monotonic()

    def run(self, runtimes: Sequence[Runtime], cells: Sequence[Cell]) -> Run:
        by_name = {runtime.name: runtime for runtime in runtimes}
        started_at, self._cells = now_utc(), cells
        try:
            for cell in cells:
                self._tell(self._progress(), self._done)
                self._done.append(self._measured(cell, by_name[cell.runtime]))
                self._ticks = 0
                self._cool_down(last=cell is cells[-1])
        except Cancelled:
            pass
        return Run(
            schema_version=SCHEMA_VERSION,
            started_at=started_at,
            app_version=__version__,
            machine=self._survey.machine,
            effort=self._course.effort,
            cells=tuple(self._done),
            left_out=self._survey.matrix.left_out,
            complete=len(self._done) == len(cells),
        )

    def _measured(self, cell: Cell, runtime: Runtime) -> Measured:
        golden = self._checked(cell)
        if not isinstance(golden, GoldenSet):
            now = self._machine.condition()
            return Measured(cell, str(golden), "", None, None, None, None, None, now, now)
        self._warm_up(cell, golden, runtime)
        return measured(
            cell,
            golden,
            runtime,
            effort=self._course.effort,
            condition=self._machine.condition,
            tick=self._tick,
        )

    def _warm_up(self, cell: Cell, golden: GoldenSet, runtime: Runtime) -> None:
        """Load once untimed: a runtime's libraries come with its first model, not with each."""
        if runtime.name not in self._warm:
            self._warm.add(runtime.name)
            with contextlib.suppress(Exception):  # the load that counts will say it
                load(cell, golden.bundle, runtime).close()

    def _checked(self, cell: Cell) -> GoldenSet | HeadtailError | OSError:
        """The golden vectors of the cell's bundle, every file of which was compared, once."""
        if cell.bundle_id not in self._golden:
            bundle = self._survey.bundles[cell.bundle_id]
            try:
                verify_files(bundle)
                self._golden[cell.bundle_id] = GoldenSet(bundle)
            except (HeadtailError, OSError) as error:  # it may be deleted in this very moment
                self._golden[cell.bundle_id] = error
        return self._golden[cell.bundle_id]

    def _tick(self) -> None:
        if self._course.cancel.is_set():
            raise Cancelled
        self._ticks += 1
        if time.monotonic() - self._told >= TELL_EVERY_S:
            self._told = time.monotonic()
            self._tell(self._progress(), self._done)

    def _progress(self) -> Progress:
        effort, total = self._course.effort, len(self._cells)
        of_cell = self._ticks / (CELL_STEPS + effort.warmup + effort.runs)
        share = min((len(self._done) + of_cell) / max(total, 1), 1.0)
        elapsed = time.monotonic() - self._started
        return Progress(
            done=len(self._done),
            total=total,
            doing=self._cells[len(self._done)] if len(self._done) < total else None,
            share=share,
            remaining_s=elapsed * (1 - share) / share if self._done else None,
        )

    def _cool_down(self, *, last: bool) -> None:
        """A short rest; a longer one while the system slows down because of heat."""
        waited, rest = 0.0, self._course.cool_down_s
        while not last and waited < COOLEST_WAIT_S:
            if self._course.cancel.wait(rest):
                raise Cancelled
            waited, rest = waited + rest, LOOK_EVERY_S
            if not self._course.cool_down_s or not self._machine.condition().throttled:
                return

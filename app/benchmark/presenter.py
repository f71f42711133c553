"""Behind the Benchmark screen: what can be measured, what is chosen, the run and its table.

Measuring is done on a thread of its own, one at a time, while Live is held: two models at once
would measure each other.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from app.benchmark.bench import COOL_DOWN_S, Bench, Course, Survey
from app.benchmark.compare import best, changes
from app.benchmark.matrix import Cell
from app.benchmark.measure import Measured
from app.benchmark.records import Records, Run
from app.benchmark.state import AXES, RUNS, BenchmarkState, Phase, Progress, Row
from app.benchmark.wording import notes_of
from app.ending import ENDS_S
from app.pages import PageName
from app.presenter import HandOver, Presenter
from app.problems import problem_of
from headtail.errors import UnknownName
from headtail.runtimes.base import CPU

__all__ = ["BenchmarkPresenter", "Holdable"]

log = logging.getLogger(__name__)


class Holdable(Protocol):
    """What else computes here, and can wait."""

    def hold(self, by: str) -> None:
        """Begin nothing new until `release`; `by` is the page that needs the whole device."""
        ...

    def release(self) -> None:
        """Go on."""
        ...


class BenchmarkPresenter(Presenter[BenchmarkState]):
    """`bundles()` are the folders or `.zip`s of the models that can be chosen, asked on the UI
    thread; `live` is held while measuring, None where nothing else computes."""

    def __init__(
        self,
        bench: Bench,
        records: Records,
        *,
        bundles: Callable[[], Sequence[Path]],
        live: Holdable | None = None,
        hand_over: HandOver,
        cool_down_s: float = COOL_DOWN_S,
    ) -> None:
        super().__init__(BenchmarkState())
        self._bench = bench
        self._records = records
        self._bundles = bundles
        self._live = live
        self._hand_over = hand_over
        self._cool_down_s = cool_down_s
        self._thread: threading.Thread | None = None
        self._course: Course | None = None
        self._seen: tuple[Path, ...] = ()
        self._survey: Survey | None = None
        self.last: Run | None = None  # what the report holds

    def look(self) -> None:
        """See what can be measured now; does nothing while it measures, or if all is as it was."""
        paths = tuple(self._bundles())
        if self._busy() or (paths == self._seen and self._survey is not None):
            return
        self._seen = paths
        if not paths:
            self._show(BenchmarkState(rows=self.state.rows, measured_at=self.state.measured_at))
            return
        self._change(phase=Phase.LOOKING, problem=None)
        self._begin(lambda: self._look(paths))

    def toggle(self, axis: str, value: str) -> None:
        """Take a value of an axis out of the matrix, or back in; the last one of an axis stays."""
        choices = [choice for choice in self.state.choices if choice.axis == axis]
        if value not in [choice.value for choice in choices]:
            raise UnknownName(axis, value, [choice.value for choice in choices])
        left = self.state.left ^ {(axis, value)}
        if any((axis, choice.value) not in left for choice in choices):
            self._change(left=frozenset(left))

    def set_runs(self, runs: int) -> None:
        """How many timed runs each cell gets; one of `RUNS`."""
        if runs not in RUNS:
            raise UnknownName("number of runs", str(runs), [str(known) for known in RUNS])
        self._change(runs=runs)

    def start(self) -> None:
        """Measure what is chosen."""
        survey, cells = self._survey, self.state.planned
        if self._busy() or survey is None or not cells:
            return
        course = self._course = Course.usual(self.state.runs, cool_down_s=self._cool_down_s)
        if self._live is not None:
            self._live.hold(PageName.BENCHMARK.value)
        table = {"rows": (), "notes": (), "measured_at": "", "compared_with": ""}
        self._change(phase=Phase.RUNNING, problem=None, **table)
        self._begin(lambda: self._measure(survey, cells, course))

    def cancel(self) -> None:
        """Stop after the run that is being made; what was measured stays in the table."""
        if self._course is not None and self.state.phase is Phase.RUNNING:
            self._course.cancel.set()
            self._change(phase=Phase.STOPPING)

    def dismiss(self) -> None:
        """Put the error away."""
        self._change(problem=None)

    def close(self, *, timeout_s: float = ENDS_S) -> bool:
        """Stop measuring; False if a run was still at work after so many seconds."""
        if self._course is not None:
            self._course.cancel.set()
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _busy(self) -> bool:
        return self.state.phase in (Phase.LOOKING, Phase.RUNNING, Phase.STOPPING)

    def _change(self, **changed: object) -> None:
        self._show(dataclasses.replace(self.state, **changed))  # type: ignore[arg-type]  # checked at run time

    def _begin(self, work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                work()
            except Exception as error:  # the thread's only way to say what went wrong
                log.exception("the benchmark ended")
                problem = problem_of(error)
                self._hand_over(lambda: self._rest(problem=problem))
            finally:
                self._bench.leave_thread()

        self._thread = threading.Thread(target=guarded, name="benchmark", daemon=True)
        self._thread.start()

    def _rest(self, **changed: object) -> None:
        held = self.state.phase in (Phase.RUNNING, Phase.STOPPING)
        ready = Phase.READY if self._survey is not None else Phase.EMPTY
        self._change(phase=ready, progress=None, **changed)
        if held and self._live is not None:
            self._live.release()

    # on the thread

    def _look(self, paths: Sequence[Path]) -> None:
        survey = self._bench.survey(paths)
        kept = self._records.of(survey.machine)
        self._hand_over(lambda: self._looked(survey, kept))

    def _measure(self, survey: Survey, cells: Sequence[Cell], course: Course) -> None:
        formers = self._records.of(survey.machine)
        run = self._bench.run(survey, cells, course, tell=self._tell)
        try:
            if run.cells:
                self._records.add(run)
        finally:  # a full disk takes nobody the table
            self._hand_over(lambda: self._measured(run, formers))

    def _tell(self, progress: Progress, done: Sequence[Measured]) -> None:
        rows = tuple(Row(measured, best=False, change=None) for measured in done)
        self._hand_over(lambda: self._change(progress=progress, rows=rows))

    # on the UI thread

    def _looked(self, survey: Survey, kept: Sequence[Run]) -> None:
        self._survey = survey
        if self.last is None and kept:  # what an earlier start of the app measured
            self._tabulate(kept[0], kept[1:])
        self._rest(
            matrix=survey.matrix,
            left=self.state.left | self._unasked(survey),
            machine=survey.machine,
            condition=survey.condition,
        )

    def _unasked(self, survey: Survey) -> set[tuple[str, str]]:
        """What is new here and not measured unless it is chosen: models but for the first, which is
        the open one, since every installed one takes long; and accelerators, of which no runtime
        tells before it loads a model whether this machine has one."""
        cells, known = survey.matrix.cells, self.state.matrix.cells
        models = dict.fromkeys(cell.bundle for cell in cells)
        others = {("model", name) for name in list(models)[1:]}
        special = {("runtime", cell.backend) for cell in cells if cell.accelerator != CPU}
        seen = {(axis, value_of(cell)) for cell in known for axis, value_of in AXES.items()}
        return (others | special) - seen

    def _measured(self, run: Run, formers: Sequence[Run]) -> None:
        self._tabulate(run, formers)
        self._rest()

    def _tabulate(self, run: Run, formers: Sequence[Run]) -> None:
        self.last = run if run.cells else self.last
        changed, fastest = changes(run, formers), best(run.cells)
        self._change(
            rows=tuple(Row(m, m.cell == fastest, changed.get(m.cell)) for m in run.cells),
            measured_at=run.started_at,
            compared_with=formers[0].started_at if changed else "",
            notes=notes_of(run),
        )

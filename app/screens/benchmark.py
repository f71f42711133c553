"""The Benchmark page: what to measure, progress, the table with the best marked, and what it means.

`BenchmarkPresenter` decides; this draws its states and passes gestures on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kivy.core.clipboard import Clipboard
from kivy.lang import Builder
from kivy.properties import BooleanProperty, NumericProperty, StringProperty

from app.application import Application
from app.benchmark import wording
from app.benchmark.state import RUNS, BenchmarkState, Phase, Row
from app.figures import byte_size, milliseconds
from app.screens.page import Page
from app.widgets import chips, controls, table  # noqa: F401  # their names are used in the .kv
from app.widgets.table import Line

__all__ = ["BenchmarkScreen"]

COLUMNS = ("p90", "p99", "mean", "min", "first", "load", "memory")
NAMES = {"model": "Model", "artifact": "Artifact", "runtime": "Runtime", "threads": "Threads"}


class BenchmarkScreen(Page):
    """See the module docstring; the properties are what `benchmark.kv` draws."""

    subtitle = StringProperty("")
    plan = StringProperty("")
    doing = StringProperty("")
    share = NumericProperty(0.0)
    results = StringProperty("")
    compared = StringProperty("")
    notes = StringProperty("")
    left_out = StringProperty("")
    hint = StringProperty("")
    can_start = BooleanProperty(False)
    can_choose = BooleanProperty(False)
    running = BooleanProperty(False)
    stopping = BooleanProperty(False)
    failed = BooleanProperty(False)

    def __init__(self, application: Application, **properties: Any) -> None:
        super().__init__(**properties)
        self._presenter = application.benchmark
        self.ids.table.entitle("", "p50", COLUMNS)
        self.watch(self._presenter, self.show)

    def enter(self) -> None:
        """See what can be measured, which may have changed meanwhile."""
        self._presenter.look()

    def show(self, state: BenchmarkState) -> None:
        """Draw `state`."""
        self.subtitle = wording.subtitle(state)
        self.plan = wording.plan_words(state)
        self.hint = wording.hint(state)
        self.running = state.phase in (Phase.RUNNING, Phase.STOPPING)
        self.stopping = state.phase is Phase.STOPPING
        self.can_choose = bool(state.matrix.cells) and not self.running
        self.can_start = state.phase is Phase.READY and bool(state.planned)
        self.doing = wording.progress_words(state.progress)
        self.share = state.progress.share if state.progress else 0.0
        self.left_out = "\n".join(wording.left_out_words(left) for left in state.matrix.left_out)
        self._show_choices(state)
        self._show_table(state)
        self.failed = state.problem is not None
        if state.problem is not None:
            self.ids.banner.what = state.problem.what
            self.ids.banner.remedy = state.problem.remedy

    def start(self) -> None:
        """Measure was pressed."""
        self._presenter.start()

    def cancel(self) -> None:
        """Stop was pressed."""
        self._presenter.cancel()

    def copy_problem(self) -> None:
        """The error's full text to the clipboard."""
        problem = self._presenter.state.problem
        if problem is not None:
            Clipboard.copy(problem.full_text)

    def dismiss_problem(self) -> None:
        """The error was read."""
        self._presenter.dismiss()

    def _show_choices(self, state: BenchmarkState) -> None:
        for axis, name in NAMES.items():
            choices = [choice for choice in state.choices if choice.axis == axis]
            row = self.ids[axis]
            row.title = name
            values = [
                (choice.value, wording.choice_name(axis, choice.value), choice.chosen)
                for choice in choices
            ]
            row.show(values, lambda value, axis=axis: self._presenter.toggle(axis, value))
        runs = [(str(count), str(count), count == state.runs) for count in RUNS]
        self.ids.runs.show(runs, lambda value: self._presenter.set_runs(int(value)))

    def _show_table(self, state: BenchmarkState) -> None:
        several = len({row.measured.cell.bundle for row in state.rows}) > 1
        longest = max(
            (r.measured.timing.p50_ms for r in state.rows if r.measured.timing), default=0
        )
        self.ids.table.show([_line(row, longest, several=several) for row in state.rows])
        self.results = wording.results_words(state)
        self.compared = wording.compared_words(state)
        self.notes = "\n".join(state.notes)


def _line(row: Row, longest_ms: float, *, several: bool) -> Line:
    measured, timing = row.measured, row.measured.timing
    cell, change = measured.cell, row.change
    name = wording.artifact_name(cell.artifact)
    note = f"{cell.backend}, {wording.threads_name(cell.threads)}"
    figures = (
        ()
        if timing is None
        else (timing.p90_ms, timing.p99_ms, timing.trimmed_mean_ms, timing.min_ms)
    )
    real = change is not None and change.real
    return Line(
        name=name,
        note=f"{cell.bundle}, {note}" if several else note,
        figure="failed" if timing is None else milliseconds(timing.p50_ms),
        share=timing.p50_ms / longest_ms if timing is not None and longest_ms else 0.0,
        cells=(
            *map(milliseconds, figures),
            *(("-",) * (4 - len(figures))),
            "-" if measured.first_ms is None else milliseconds(measured.first_ms),
            "-" if measured.load_ms is None else milliseconds(measured.load_ms),
            "-" if measured.memory_bytes is None else byte_size(measured.memory_bytes),
        ),
        detail=wording.details(measured),
        mark=wording.change_words(change),
        tone="" if change is None or not real else "good" if change.ratio < 1 else "bad",
        best=row.best,
        failed=timing is None,
    )


Builder.load_file(str(Path(__file__).with_suffix(".kv")))

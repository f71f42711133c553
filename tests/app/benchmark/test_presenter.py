"""Choosing, measuring, stopping; the test is the UI thread, the measuring has its own."""

import pytest

from app.benchmark.bench import Bench
from app.benchmark.presenter import BenchmarkPresenter
from app.benchmark.records import Records
from app.benchmark.state import Phase
from headtail.errors import UnknownName
from tests.app.benchmark.conftest import HOT, Toaster
from tests.app.benchmark.echo import EchoRuntime


class Live:
    def __init__(self):
        self.calls = []

    def hold(self, by):
        self.calls.append(f"held by {by}")

    def release(self):
        self.calls.append("release")


@pytest.fixture
def live():
    return Live()


@pytest.fixture
def make(ui, tmp_path, live):
    presenters = []

    def make(bench, *bundles):
        presenter = BenchmarkPresenter(
            bench,
            Records(tmp_path / "runs"),
            bundles=lambda: bundles,
            live=live,
            hand_over=ui.hand_over,
            cool_down_s=0.0,
        )
        presenters.append(presenter)
        presenter.subscribe(ui.states.append)
        return presenter

    yield make
    assert all(presenter.close() for presenter in presenters)


def ready(state):
    return state.phase is Phase.READY


def looked(presenter, ui):
    presenter.look()
    return ui.until(ready)


def measured(presenter, ui):
    presenter.start()
    return ui.until(lambda state: ready(state) and state.measured_at)


def test_without_a_bundle_there_is_nothing_to_choose(make, bench):
    presenter = make(bench)
    presenter.look()
    assert presenter.state.phase is Phase.EMPTY
    presenter.start()
    assert presenter.state.phase is Phase.EMPTY


def test_what_can_be_measured_is_shown_with_the_machine(make, bench, bundle, ui):
    state = looked(make(bench, bundle), ui)
    assert [(c.axis, c.value) for c in state.choices] == [
        ("model", "tiny"),
        ("artifact", "litert.fp32"),
        ("runtime", "echo"),
        ("threads", "1"),
        ("threads", "2"),
    ]
    assert all(choice.chosen for choice in state.choices)
    assert state.machine.device == "Toaster 5"
    assert len(state.planned) == 2


def test_of_several_models_the_first_is_measured_unless_somebody_wants_more(
    make, bench, bundle, other_bundle, ui
):
    presenter = make(bench, bundle, other_bundle)
    assert {cell.bundle for cell in looked(presenter, ui).planned} == {"tiny"}
    presenter.toggle("model", "other")
    assert {cell.bundle for cell in presenter.state.planned} == {"tiny", "other"}
    presenter.toggle("model", "tiny")
    assert {cell.bundle for cell in presenter.state.planned} == {"other"}


def test_looking_again_at_the_same_reads_nothing_anew(make, bench, bundle, ui):
    presenter = make(bench, bundle)
    looked(presenter, ui)
    presenter.look()
    assert presenter.state.phase is Phase.READY


def test_a_choice_narrows_the_matrix_and_the_last_of_an_axis_stays(make, bench, bundle, ui):
    presenter = make(bench, bundle)
    looked(presenter, ui)
    presenter.toggle("threads", "2")
    assert [cell.threads for cell in presenter.state.planned] == [1]
    presenter.toggle("threads", "1")
    assert [cell.threads for cell in presenter.state.planned] == [1]
    presenter.toggle("threads", "2")
    assert len(presenter.state.planned) == 2
    with pytest.raises(UnknownName, match="Known: 1, 2"):
        presenter.toggle("threads", "3")
    with pytest.raises(UnknownName, match="Known: 10, 100, 30"):
        presenter.set_runs(31)


def test_measuring_holds_live_fills_the_table_and_keeps_the_run(make, bench, bundle, ui, live):
    presenter = make(bench, bundle)
    looked(presenter, ui)
    presenter.set_runs(10)
    presenter.start()
    assert live.calls == ["held by Benchmark"]
    assert presenter.state.phase is Phase.RUNNING
    state = ui.until(lambda state: ready(state) and state.measured_at)
    assert live.calls == ["held by Benchmark", "release"]
    assert [row.measured.timing.runs for row in state.rows] == [10, 10]
    assert [row.best for row in state.rows].count(True) == 1
    assert state.compared_with == ""
    assert any(s.progress is not None and s.progress.total == 2 for s in ui.states)
    assert presenter.last.cells == tuple(row.measured for row in state.rows)


def test_the_second_run_is_compared_with_the_first(make, bench, bundle, ui, toaster):
    presenter = make(bench, bundle)
    looked(presenter, ui)
    first = measured(presenter, ui).measured_at
    ui.states.clear()
    presenter.start()
    state = ui.until(lambda s: ready(s) and s.rows and s.compared_with)
    assert state.compared_with == first
    assert all(row.change is not None for row in state.rows)
    assert toaster.left == 3  # each thread left the machine: one look, two runs


def test_the_next_start_of_the_app_shows_what_was_measured(make, bench, bundle, ui):
    former = make(bench, bundle)
    looked(former, ui)
    table = measured(former, ui)
    ui.states.clear()
    presenter = make(bench, bundle)
    state = looked(presenter, ui)
    assert (state.rows, state.measured_at) == (table.rows, table.measured_at)
    assert presenter.last == former.last


def test_what_is_cancelled_stops_and_what_was_measured_stays(make, bench, bundle, ui, echo, live):
    presenter = make(bench, bundle)
    looked(presenter, ui)

    def cancel():
        if len(echo.loads) == 3:  # one to warm up, the first cell, now the second
            ui.hand_over(presenter.cancel)
            echo.on_run = lambda: presenter._course.cancel.wait(10)

    echo.on_run = cancel
    state = measured(presenter, ui)
    assert Phase.STOPPING in [s.phase for s in ui.states]
    assert [row.measured.cell.threads for row in state.rows] == [1]
    assert any("Stopped before the end" in note for note in state.notes)
    assert live.calls == ["held by Benchmark", "release"]


def test_heat_is_said(make, bundle, ui):
    bench = Bench(lambda: (EchoRuntime(bundle),), Toaster(HOT))
    presenter = make(bench, bundle)
    looked(presenter, ui)
    presenter.toggle("threads", "2")
    notes = measured(presenter, ui).notes
    assert any("It got hot (thermal status severe)" in note for note in notes)
    assert "On battery, 79 %." in notes


def test_a_run_that_cannot_be_kept_is_shown_with_the_problem(make, bench, bundle, ui, tmp_path):
    (tmp_path / "runs").write_text("a file where the folder should be")
    presenter = make(bench, bundle)
    looked(presenter, ui)
    presenter.start()
    state = ui.until(lambda s: ready(s) and s.problem is not None)
    assert len(state.rows) == 2
    presenter.dismiss()
    assert presenter.state.problem is None


def test_closing_while_it_measures_stops_it(make, bench, bundle, ui, echo):
    presenter = make(bench, bundle)
    looked(presenter, ui)
    echo.on_run = lambda: presenter._course.cancel.wait(10)
    presenter.start()
    assert presenter.close()
    assert echo.open == 0


def test_an_accelerator_is_measured_only_when_it_is_chosen(make, ui, bundle, toaster):
    runtime = EchoRuntime(bundle, accelerators=("cpu", "gpu"))
    presenter = make(Bench(lambda: (runtime,), toaster), bundle)
    state = looked(presenter, ui)
    assert {cell.accelerator for cell in state.matrix.cells} == {"cpu", "gpu"}
    assert {cell.accelerator for cell in state.planned} == {"cpu"}
    presenter.toggle("runtime", f"{runtime.name} gpu")
    assert {cell.accelerator for cell in presenter.state.planned} == {"cpu", "gpu"}
    presenter.look()  # a choice is kept when the page is entered again
    assert {cell.accelerator for cell in ui.until(ready).planned} == {"cpu", "gpu"}

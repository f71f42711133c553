"""Gathering, saving, sharing; the test is the UI thread, files are written on another."""

import dataclasses
import itertools

import pytest

from app.live.readings import Readings
from app.live.state import BundleCard, LiveState
from app.offloading.state import Decided, OffloadingState
from app.report.presenter import Phase, ReportPresenter, Seen
from app.report.sharing import DeskSharing
from app.settings.preferences import Preferences
from tests.app.benchmark.conftest import Toaster
from tests.app.benchmark.echo import EchoRuntime
from tests.app.report.conftest import LOST

SERVER = "https://192.168.1.20:8707"
CARD = BundleCard("tiny", "litert", "fp32", 25, 1.0, 2, "echo", "9.9", "cpu", 1, "classification")


@pytest.fixture
def seen(bundle, run):
    offload = OffloadingState(
        "this computer",
        Preferences(server=SERVER, mode="auto"),
        decided=(Decided("local (server lost)", LOST, 7),),
    )
    live = LiveState(bundle_path=bundle, bundle=CARD, readings=Readings(n=3))
    return Seen(live, offload, run, lambda: "")


@pytest.fixture
def make(ui, tmp_path, bundle):
    presenters = []

    def make(seen, *, sharing=None, folder=tmp_path / "reports"):
        presenter = ReportPresenter(
            folder,
            (Toaster(), lambda: (EchoRuntime(bundle),)),
            seen=lambda: seen,
            secrets=lambda: [SERVER],
            sharing=sharing or DeskSharing(),
            hand_over=ui.hand_over,
        )
        presenters.append(presenter)
        presenter.subscribe(ui.states.append)
        presenter.gather()
        ui.until(lambda state: state.phase is Phase.READY)
        return presenter

    yield make
    assert all(presenter.close() for presenter in presenters)


def facts(presenter, title):
    return next(dict(s.facts) for s in presenter.state.sections if s.title == title)


def test_everything_is_gathered_and_the_address_is_not(make, seen):
    presenter = make(seen)
    assert facts(presenter, "Device")["device"] == "Toaster 5"
    assert facts(presenter, "Model")["model"] == "tiny"
    assert facts(presenter, "Runtimes") == {"echo": "9.9"}
    assert facts(presenter, "Offload")["mode"] == "auto"
    assert len(next(s for s in presenter.state.sections if s.title == "Benchmark").rows) == 2
    assert "192.168" not in presenter.text()
    assert "192.168" not in str(presenter.state.sections)


def test_before_anything_happened_it_says_so(make, seen):
    nothing = dataclasses.replace(
        seen, live=LiveState(), run=None, offload=OffloadingState("this computer", Preferences())
    )
    presenter = make(nothing)
    assert [facts(presenter, t) for t in ("Model", "Benchmark", "Live", "Offload")] == [
        {"model": "none was open"},
        {"benchmark": "was not run"},
        {"live": "nothing was answered"},
        {"offload": "no decision was made"},
    ]


def test_a_bundle_that_was_deleted_meanwhile_leaves_the_rest(make, seen, tmp_path):
    gone = dataclasses.replace(seen.live, bundle_path=tmp_path / "gone.bundle")
    presenter = make(dataclasses.replace(seen, live=gone))
    assert facts(presenter, "Model") == {"model": "none was open"}
    assert facts(presenter, "Device")["device"] == "Toaster 5"


def test_saving_writes_and_says_where(make, seen, ui):
    presenter = make(dataclasses.replace(seen, trace=lambda: '{"x":1}\n'))
    presenter.save()
    assert presenter.state.phase is Phase.SAVING
    state = ui.until(lambda state: state.saved is not None and state.told)
    assert state.told == f"Saved as {state.saved}"
    assert state.saved.read_text().startswith("# Headtail on this device")
    assert len(list(state.saved.parent.iterdir())) == 3


def test_sharing_on_a_desk_saves_and_copies_the_path(make, seen, ui):
    copied: list[str] = []
    presenter = make(seen)
    presenter.share(copied.append)
    state = ui.until(lambda state: state.told)
    assert copied == [str(state.saved)]
    presenter.copied()
    assert presenter.state.told == "The report was copied."


def test_a_phone_that_cannot_share_says_so_and_the_file_is_there(make, seen, ui):
    class Broken:
        def share(self, text, file, copy):
            raise RuntimeError("no activity found")

    presenter = make(seen, sharing=Broken())
    presenter.share(print)
    state = ui.until(lambda state: state.problem is not None)
    assert state.saved.exists()
    assert "no activity found" in state.problem.full_text
    presenter.dismiss()
    assert presenter.state.problem is None


def test_a_full_disk_is_a_problem_and_the_report_stays(make, seen, ui, tmp_path):
    (tmp_path / "taken").write_text("a file")
    presenter = make(seen, folder=tmp_path / "taken")
    presenter.save()
    state = ui.until(lambda state: state.problem is not None)
    assert (state.phase, state.saved) == (Phase.READY, None)
    assert presenter.text()


def test_pressing_save_twice_writes_once(make, seen, ui):
    presenter = make(seen)
    presenter.save()
    presenter.save()
    ui.until(lambda state: state.saved is not None)
    phases = [phase for phase, _ in itertools.groupby(s.phase for s in ui.states)]
    assert phases.count(Phase.SAVING) == 1

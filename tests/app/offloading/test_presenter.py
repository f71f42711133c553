"""Offloading without a window: frames in, states out, at most some a second."""

import dataclasses
import shutil

import pytest

from app.live.state import LiveState
from app.offloading.export import TraceExport
from app.offloading.presenter import KEPT_DECISIONS, KEPT_MOMENTS, OffloadingPresenter
from app.report.sharing import MAX_TEXT, DeskSharing
from app.settings.preferences import PreferenceStore
from headtail.offload.estimator import LinkEstimate
from headtail.offload.planner import Held, Lately, Situation
from headtail.offload.policy import Decision, Policy
from headtail.offload.trace import Record, Trace
from headtail.plan_inputs import DeviceTimes, ServerTimes
from tests.app.live.results import card, result
from tests.support.bundles import tiny_bundle

SPLIT = Decision("split", "predicted at 21 ms", cut="c1", codec="aq8t", predicted_ms=21.0)


def situation():
    """All is local because that was asked for; no link was measured."""
    return Situation(
        now_s=1.0,
        policy=Policy(mode="off"),
        barred="",
        breaker="closed",
        wait_s=0.0,
        failure="",
        busy=False,
        held=Held(),
        lately=Lately(),
        link=LinkEstimate(),
        device=DeviceTimes(20.0),
        server=ServerTimes(5.0, 0.0, 400),
        known_tails=(),
        wire_bytes={},
    )


class Hand:
    """A clock that is moved by hand."""

    now_s = 100.0

    def __call__(self):
        return self.now_s


def frame(decision=None, **changes):
    status = result().offload
    if decision is not None:
        status = dataclasses.replace(status, decision=decision)
    facts = {k: changes.pop(k) for k in ("breaker", "wait_s", "rtt_ms") if k in changes}
    return result(offload=dataclasses.replace(status, **facts), **changes)


@pytest.fixture
def clock():
    return Hand()


@pytest.fixture
def traces():
    """Put one in and it is the engine's."""
    return []


@pytest.fixture
def made(ui, clock, tmp_path, traces):
    presenter = OffloadingPresenter(
        PreferenceStore(tmp_path / "preferences.json"),
        trace=lambda: traces[0] if traces else None,
        exports=TraceExport(
            tmp_path / "traces", sharing=DeskSharing(), secrets=lambda: ["The box"]
        ),
        device="this phone",
        hand_over=ui.hand_over,
        clock=clock,
    )
    presenter.subscribe(ui.listen)
    yield presenter
    presenter.close()


def test_frames_are_kept_and_drawn_some_times_a_second_while_somebody_looks(made, ui, clock):
    made.observe(frame())
    assert made.state.moments == ()  # nobody looks
    made.enter()
    assert len(made.state.moments) == 1
    shown = len(ui.states)
    for _ in range(60):
        clock.now_s += 1 / 60
        made.observe(frame())
    assert 3 <= len(ui.states) - shown <= 4
    made.leave()
    shown = len(ui.states)
    clock.now_s += 1
    made.observe(frame())
    assert len(ui.states) == shown
    made.enter()
    assert len(made.state.moments) == 62


def test_a_moment_has_what_was_measured_and_none_for_what_was_not(made):
    made.observe(frame(rtt_ms=8.5, bytes_up=4704, total_ms=23.0))
    made.enter()
    (moment,) = made.state.moments
    assert (moment.rtt_ms, moment.kilobytes_up, moment.total_ms) == (8.5, 4.704, 23.0)
    assert (moment.remote_ms, moment.up_mbit_s, moment.local_ms) == (None, None, 20.0)


def test_it_forgets_what_is_old(made):
    for i in range(2 * KEPT_MOMENTS):
        made.observe(frame(badge=f"local {i}"))
    made.enter()
    assert len(made.state.moments) == KEPT_MOMENTS
    assert len(made.state.decided) == KEPT_DECISIONS
    assert made.state.decided[0].badge == f"local {2 * KEPT_MOMENTS - 1}"


def test_frames_that_went_the_same_way_are_counted_together(made):
    for reason in ("21.0 ms", "21.4 ms"):
        made.observe(frame(SPLIT, badge="split at c1, aq8t", reason=reason))
    made.observe(frame(SPLIT, badge="local (server lost)", reason="Nothing answers."))
    made.observe(frame(SPLIT, badge="split at c1, aq8t", reason=""))
    made.enter()
    told = [(line.badge, line.frames, line.reason) for line in made.state.decided]
    assert told == [
        ("split at c1, aq8t", 1, "predicted at 21 ms"),
        ("local (server lost)", 1, "Nothing answers."),
        ("split at c1, aq8t", 2, "21.4 ms"),
    ]


def test_the_countdown_goes_on_without_frames(made, ui, clock):
    made.observe(frame(breaker="open", wait_s=3.0))
    made.enter()
    assert (made.state.breaker, made.state.wait_s) == ("open", 3.0)
    clock.now_s += 2
    made.tick()
    assert made.state.wait_s == pytest.approx(1.0)
    clock.now_s += 2
    made.tick()
    assert made.state.wait_s == 0.0
    shown = len(ui.states)
    made.tick()  # there is nothing to count any more
    assert len(ui.states) == shown


def opened(made, ui, bundle):
    artifact = bundle.manifest.artifacts[0]
    live = LiveState(
        bundle_path=bundle.path, bundle=card(format=artifact.format, precision=artifact.precision)
    )
    made.follow(live)
    return ui.until(lambda state: state.bundle == bundle.manifest.name or state.problem), live


def test_the_cuts_of_the_open_bundle_can_be_chosen(made, ui, tmp_path):
    state, live = opened(made, ui, tiny_bundle(tmp_path))
    assert [(choice.id, choice.share) for choice in state.cuts] == [("early", 0.25), ("late", 0.75)]
    assert all(choice.bytes_up > 0 for choice in state.cuts)
    assert "raw32" in state.codecs
    made.choose_cut("late")
    made.choose_codec("raw32")
    made.choose_mode("force")
    chosen = made.state.preferences
    assert (chosen.cut, chosen.codec, chosen.mode) == ("late", "raw32", "force")
    assert {choice.codec for choice in made.state.cuts} == {"raw32"}
    made.follow(live)  # the same again
    assert made.state.preferences == chosen


def test_a_cut_that_another_bundle_lacks_is_given_up(made, ui, tmp_path):
    made.choose_cut("blocks_7")
    made.choose_codec("raw32")
    state, _ = opened(made, ui, tiny_bundle(tmp_path))
    assert (state.preferences.cut, state.preferences.codec) == ("", "raw32")


def test_another_bundle_begins_with_empty_plots(made, ui, tmp_path):
    opened(made, ui, tiny_bundle(tmp_path))
    made.enter()
    made.follow(LiveState(result=frame()))
    made.follow(LiveState(result=made._last))  # the same answer is no new frame
    assert len(made._moments) == 1
    state, _ = opened(made, ui, tiny_bundle(tmp_path, name="other"))
    assert (state.moments, state.decided) == ((), ())


def test_a_bundle_that_is_closed_leaves_nothing_behind(made, ui, tmp_path):
    made.enter()
    state, _ = opened(made, ui, tiny_bundle(tmp_path))
    made.observe(frame(SPLIT))
    assert (state.bundle, len(state.cuts)) == ("tiny", 2)
    made.follow(LiveState())
    state = made.state
    assert (state.bundle, state.cuts, state.codecs) == ("", (), ())
    assert (state.decided, state.moments, state.decision) == ((), (), None)


def test_a_bundle_that_is_read_after_it_was_closed_is_not_shown(made, ui, tmp_path):
    bundle = tiny_bundle(tmp_path)
    artifact = bundle.manifest.artifacts[0]
    live = LiveState(
        bundle_path=bundle.path,
        bundle=dataclasses.replace(card(), format=artifact.format, precision=artifact.precision),
    )
    made.follow(live)
    made.follow(LiveState())
    made.close()  # it was read by now
    while not ui.calls.empty():
        ui.calls.get()()
    assert made.state.bundle == ""


def test_a_bundle_that_is_gone_is_told(made, ui, tmp_path):
    bundle = tiny_bundle(tmp_path)
    shutil.rmtree(bundle.path)
    state, _ = opened(made, ui, bundle)
    assert "is not a bundle" in state.problem.what
    made.dismiss()
    assert made.state.problem is None


def test_the_trace_is_saved_to_be_replayed(made, ui, tmp_path, traces):
    copied: list[str] = []
    made.export(copied.append)  # without an engine there is none
    trace = Trace()
    trace.add(Record(1, situation(), Decision("local", "off"), "local", 20.0, "ab"))
    traces.append(trace)
    made.export(copied.append)
    told = ui.until(lambda state: state.saved).saved
    (path,) = (tmp_path / "traces").iterdir()
    assert copied == [str(path)]
    assert told == f"Saved as {path}; its path was copied."
    assert [Record.parse(line) for line in path.read_text().splitlines()] == trace.records()


def test_no_server_is_named_in_what_is_shared_and_the_newest_lines_are_kept(tmp_path):
    failed = dataclasses.replace(situation(), failure="The box at https://192.168.1.20:8707 is off")
    trace = Trace()
    for number in range(300):
        trace.add(Record(number, failed, Decision("local", "lost"), "local", 20.0, "ab"))
    exports = TraceExport(tmp_path, sharing=DeskSharing(), secrets=lambda: ["The box"])
    saved = exports.save(trace)
    text = saved.path.read_text()
    assert len(text.splitlines()) == 300
    assert "192.168" not in text
    assert "The box" not in text
    newest = saved.newest.splitlines()
    assert len(saved.newest) <= MAX_TEXT < len(text)
    assert newest == text.splitlines()[-len(newest) :]


def test_a_trace_that_cannot_be_saved_is_told(made, ui, tmp_path, traces):
    (tmp_path / "traces").write_text("a file where the folder should be")
    traces.append(Trace())
    made.export(lambda _text: None)
    assert ui.until(lambda state: state.problem).problem.full_text

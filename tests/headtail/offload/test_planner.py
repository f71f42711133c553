"""Decisions: what is decided from which situation, and that a recorded one gives the same again."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.errors import SchemaFault, UnknownName, UsageFault
from headtail.offload.estimator import LinkEstimate
from headtail.offload.planner import Held, Lately, Situation, decide, priced
from headtail.offload.policy import Decision, Policy, Probe
from headtail.offload.trace import KEPT_RECORDS, Record, Trace, replay
from headtail.plan import DeviceTimes, Quality, ServerTimes

FRAMES = {"a": {"aq8t": 20_000, "raw32": 80_000}, "b": {"aq8t": 5_000, "raw32": 20_000}}
FAST = LinkEstimate(10.0, 10.0, 10.0, 0.5, 0.5)
# split at b with aq8t: 60 head + 1 encode + 4 up + 10 rtt + 5 tail + 0.4 down = 80.4 ms
USUAL = Situation(
    now_s=100.0,
    policy=Policy(),
    barred="",
    breaker="closed",
    wait_s=0.0,
    failure="",
    busy=False,
    held=Held(since_s=0.0),
    lately=Lately(ping_s=99.9, frame_s=99.0),
    link=FAST,
    device=DeviceTimes(
        200.0,
        {"a": 30.0, "b": 60.0},
        {cut: {"aq8t": 1.0, "raw32": 0.5} for cut in FRAMES},
    ),
    server=ServerTimes(20.0, 0.0, 500, {"a": 18.0, "b": 5.0}),
    known_tails=("a", "b"),
    wire_bytes=FRAMES,
)


def situation(**changed):
    return dataclasses.replace(USUAL, **changed)


def policy(**changed):
    return Policy(**changed)


def test_the_fastest_route_is_taken_and_why_is_said():
    decision = decide(USUAL)
    assert (decision.where, decision.cut, decision.codec) == ("split", "a", "aq8t")
    assert decision.predicted_ms == pytest.approx(30 + 1 + 16 + 10 + 18 + 0.4)
    assert decision.changed
    assert "Split at a with aq8t is predicted at 75.4 ms; local at 200.0 ms." in decision.reason


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"policy": Policy(mode="off")}, "Offload is off."),
        ({"barred": "No companion server was named."}, "No companion server was named."),
        ({"wire_bytes": {}}, "No cut can be sent"),
        ({"breaker": "open", "wait_s": 2.0, "failure": "It is gone."}, "again in 2.0 s."),
        ({"breaker": "half open", "failure": "It is gone."}, "being tried again"),
        ({"busy": True}, "still carries an earlier message"),
        ({"link": LinkEstimate()}, "not measured yet"),
        ({"policy": Policy(minimum_fidelity=0.9)}, "Nothing is permitted"),
    ],
)
def test_why_a_frame_stays_here(changed, words):
    decision = decide(situation(**changed))
    assert decision.where == "local"
    assert words in decision.reason


def test_what_a_person_chose_is_kept_to():
    chosen = {cut: {"raw32": FRAMES[cut]["raw32"]} for cut in ("b",)}
    decision = decide(
        situation(
            policy=policy(cut="b", codec="raw32"),
            wire_bytes=chosen,
            device=DeviceTimes(200.0, {"b": 60.0}, {"b": {"raw32": 0.5}}),
            server=ServerTimes(20.0, 0.0, 500, {"b": 5.0}),
            known_tails=("b",),
        )
    )
    assert (decision.cut, decision.codec) == ("b", "raw32")


def test_forced_although_local_is_faster():
    fast = dataclasses.replace(USUAL.device, local_ms=1.0)
    auto, forced = (
        decide(situation(device=fast, policy=Policy(mode=mode))) for mode in ("auto", "force")
    )
    assert (auto.where, forced.where) == ("local", "split")
    assert forced.hedge_ms is None, "the deadline alone says when the device begins"
    assert "forced" in forced.reason


def test_forced_without_a_link_known_sends_least():
    decision = decide(situation(policy=Policy(mode="force"), link=LinkEstimate()))
    assert (decision.where, decision.cut, decision.codec) == ("split", "b", "aq8t")


PROVEN = Quality(1.0, {"a": {"aq8t": 0.96, "raw32": 1.0}, "b": {"aq8t": 0.99, "raw32": 1.0}})


@pytest.mark.parametrize(
    ("minimum", "wanted"),
    [(None, ("a", "aq8t")), (0.96, ("a", "aq8t")), (0.97, ("b", "aq8t")), (0.995, ("b", "raw32"))],
)
@pytest.mark.parametrize("mode", ["auto", "force"])
def test_the_fastest_split_that_is_proven_good_enough(mode, minimum, wanted):
    told = situation(quality=PROVEN, policy=Policy(mode=mode, minimum_fidelity=minimum))
    decision = decide(told)
    assert (decision.where, decision.cut, decision.codec) == ("split", *wanted)


def test_a_good_split_rather_than_a_device_that_answers_otherwise():
    poor = dataclasses.replace(PROVEN, local=0.9)
    quick = dataclasses.replace(USUAL.device, local_ms=1.0)
    told = situation(quality=poor, device=quick, policy=Policy(minimum_fidelity=0.98))
    assert decide(told).where == "split"


@pytest.mark.parametrize(
    ("quality", "where"), [(PROVEN, ("split", "b", "raw32")), (Quality(1.0), ("local", "", ""))]
)
def test_forced_without_a_link_known_sends_the_least_that_is_good_enough(quality, where):
    asked = Policy(mode="force", minimum_fidelity=0.995)
    decision = decide(situation(policy=asked, link=LinkEstimate(), quality=quality))
    assert (decision.where, decision.cut, decision.codec) == where
    assert decision.where == "split" or "fidelity of 0.995" in decision.reason


def test_the_device_does_not_begin_before_it_could_still_be_of_use():
    """Twice the predicted reply, but not before the time that the device itself would take."""
    reply_ms = 1 + 16 + 10 + 18 + 0.4
    assert decide(USUAL).hedge_ms == 200.0
    fast = dataclasses.replace(USUAL.device, local_ms=90.0)
    assert decide(situation(device=fast)).hedge_ms == pytest.approx(2 * reply_ms + 20)


def test_a_link_that_broke_down_is_left_at_once():
    held = Held("split", "a", "aq8t", since_s=99.99)
    slow = dataclasses.replace(FAST, uplink_mbit_s=0.1)
    decision = decide(situation(held=held, link=slow))
    assert (decision.where, decision.changed) == ("local", True)


def test_small_differences_change_nothing():
    held = Held("split", "b", "aq8t", since_s=0.0)
    decision = decide(situation(held=held))  # a is 6 % faster
    assert (decision.cut, decision.changed) == ("b", False)
    assert "stays" in decision.reason


def test_a_clear_difference_waits_for_the_dwell_time():
    faster = dataclasses.replace(FAST, uplink_mbit_s=40.0)  # a: 63.1, b: 77.3 ms
    young = decide(situation(held=Held("split", "b", "aq8t", since_s=99.8), link=faster))
    old = decide(situation(held=Held("split", "b", "aq8t", since_s=99.0), link=faster))
    assert (young.cut, old.cut) == ("b", "a")


def test_a_tail_that_was_never_measured_is_tried_in_the_background_first():
    first = decide(
        situation(known_tails=("b",), device=dataclasses.replace(USUAL.device, local_ms=78.0))
    )
    assert first.where == "local"
    assert first.probe == Probe("frame", "a", "aq8t")
    assert "was never measured" in first.reason


def test_a_tail_that_was_never_measured_is_tried_with_one_frame_while_frames_are_split():
    held = Held("split", "b", "aq8t", since_s=0.0)
    unknown = situation(held=held, known_tails=("b",))
    assert (decide(unknown).cut, decide(unknown).probe) == ("a", None)
    assert "Trying" in decide(unknown).reason
    tried = situation(held=held, known_tails=("b",), lately=Lately(tried_s={"a": 80.0}))
    assert decide(tried).cut == "b", "not again so soon"


def test_messages_in_the_background_while_frames_stay_here():
    here = dataclasses.replace(USUAL.device, local_ms=10.0)
    calm = situation(device=here)
    assert decide(calm).probe is None
    assert decide(dataclasses.replace(calm, lately=Lately(99.0, 99.0))).probe == Probe("ping")
    old = dataclasses.replace(FAST, rate_age_s=6.0)
    aged = dataclasses.replace(calm, link=old, lately=Lately(99.9, 90.0))
    assert decide(aged).probe == Probe("frame", "b", "aq8t")
    expensive = Lately(99.9, 90.0, frame_ms=4000.0)  # a tenth of the time at most
    assert decide(dataclasses.replace(aged, lately=expensive)).probe is None


def test_a_server_that_failed_is_tried_again_in_the_background_when_it_is_time():
    broken = {"breaker": "open", "failure": "It is gone."}
    assert decide(situation(**broken, wait_s=0.1)).probe is None
    assert decide(situation(**broken)).probe == Probe("frame", "a", "aq8t")
    assert decide(situation(**broken, busy=True)).probe is None
    blind = situation(**broken, link=LinkEstimate(), held=Held("split", "b", "raw32"))
    assert decide(blind).probe == Probe("frame", "b", "raw32")


def test_refusals():
    with pytest.raises(UnknownName, match=r"offload mode 'always'.*force"):
        Policy(mode="always")
    with pytest.raises(UnknownName, match="codec 'zip'"):
        Policy(codec="zip")
    for wrong in ({"deadline_ms": 0}, {"deadline_ms": float("nan")}, {"minimum_fidelity": 2}):
        with pytest.raises(UsageFault, match="out of range"):
            Policy(**wrong)


times = st.floats(0.0, 5000.0)
rates = st.none() | st.floats(0.01, 1000.0)
cuts = st.sampled_from(["a", "b"])
moments = st.none() | st.floats(0.0, 200.0)


@st.composite
def situations(draw):
    rate = draw(rates)
    ages = st.none() if rate is None else st.floats(0, 60)
    return Situation(
        now_s=draw(st.floats(0.0, 200.0)),
        policy=Policy(
            mode=draw(st.sampled_from(["off", "auto", "force"])),
            deadline_ms=draw(st.floats(1, 5000)),
            minimum_fidelity=draw(st.none() | st.floats(0, 1)),
        ),
        barred=draw(st.sampled_from(["", "No companion server was named."])),
        breaker=draw(st.sampled_from(["closed", "open", "half open"])),
        wait_s=draw(st.sampled_from([0.0, 1.5])),
        failure=draw(st.text(max_size=20)),
        busy=draw(st.booleans()),
        held=Held(
            draw(st.sampled_from(["local", "split"])), draw(cuts), "aq8t", draw(st.floats(0, 200))
        ),
        lately=Lately(
            draw(moments), draw(moments), draw(times), draw(st.dictionaries(cuts, st.floats(0, 9)))
        ),
        link=LinkEstimate(draw(st.none() | times), rate, rate, draw(ages), draw(ages)),
        device=DeviceTimes(
            draw(times), {cut: draw(times) for cut in FRAMES}, USUAL.device.encode_ms
        ),
        server=ServerTimes(draw(times), 0.0, 500, {cut: draw(times) for cut in FRAMES}),
        known_tails=tuple(sorted(draw(st.sets(cuts)))),
        wire_bytes=FRAMES,
        quality=Quality(draw(st.none() | st.floats(0, 1))),
    )


@settings(deadline=None, max_examples=150)
@given(situations())
def test_any_situation_is_decided_and_comes_out_of_its_record_the_same(any_situation):
    decision = decide(any_situation)
    assert decision.reason
    assert decision.where in ("local", "split")
    assert bool(decision.cut) == bool(decision.codec) == (decision.where == "split")
    if decision.where == "split":
        assert any_situation.policy.mode != "off"
        assert any_situation.breaker == "closed"
        assert not any_situation.busy
        assert not any_situation.barred
        assert decision.probe is None, "a frame and a probe do not share the line"
    if any_situation.policy.mode == "auto" and decision.where == "split":
        rates_known = priced(any_situation)
        assert rates_known is not None
        tried = decision.cut not in any_situation.known_tails
        assert not tried or any_situation.held.where == "split"
    line = Record(1, any_situation, decision, decision.where, 1.0, "").line()
    assert "\n" not in line
    assert replay([line]) == (1, [])


def test_a_record_that_was_changed_is_found():
    record = Record(7, USUAL, decide(USUAL), "split", 75.0, "ab")
    wrong = dataclasses.replace(record, decision=Decision("local", "Because."))
    count, (difference,) = replay([record.line(), "", wrong.line()])
    assert count == 2
    assert difference.record == wrong
    assert difference.now == record.decision


def test_a_line_that_is_no_record():
    with pytest.raises(SchemaFault):
        replay(['{"number": 1}'])


def test_a_trace_is_bounded():
    trace = Trace()
    for number in range(KEPT_RECORDS + 10):
        trace.add(Record(number, USUAL, decide(USUAL), "split", 1.0, ""))
    assert [trace.records()[0].number, len(trace.records())] == [10, KEPT_RECORDS]
    assert replay(trace.text().splitlines()) == (KEPT_RECORDS, [])

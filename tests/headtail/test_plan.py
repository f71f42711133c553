import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.errors import UnknownName, UsageFault
from headtail.plan import (
    Constraints,
    DeviceTimes,
    Link,
    Picture,
    Plan,
    Problem,
    Quality,
    ServerTimes,
    plan,
    wire_bytes_of,
)
from headtail.plan_inputs import split_fidelity
from headtail.strictjson import canonical_bytes, from_json, parse
from tests.support.bundles import golden_tensors, manifest_of

LINK = Link(uplink_mbit_s=8.0, downlink_mbit_s=16.0, rtt_ms=10.0)  # 1 byte/us up, 2 down
DEVICE = DeviceTimes(
    local_ms=100.0,
    head_ms={"early": 20.0, "late": 60.0},
    encode_ms={"early": {"aq8t": 2.0}, "late": {"aq8t": 1.0, "raw32": 0.5}},
)
SERVER = ServerTimes(
    whole_ms=10.0, preprocess_ms=3.0, reply_bytes=4000, tail_ms={"early": 8.0, "late": 4.0}
)
BYTES = {"early": {"aq8t": 40_000}, "late": {"aq8t": 10_000, "raw32": 40_000}}
QUALITY = Quality(local=1.0, split={"early": {"aq8t": 0.99}, "late": {"aq8t": 1.0, "raw32": 1.0}})
JPEG = Picture("jpeg-90", size_bytes=9000, encode_ms=5.0, fidelity=0.95)
PNG = Picture("png", size_bytes=120_000, encode_ms=12.0, fidelity=1.0)
PROBLEM = Problem(LINK, DEVICE, SERVER, BYTES, QUALITY, (PNG, JPEG))


def solve(problem=PROBLEM, **constraints):
    return plan(dataclasses.replace(problem, constraints=Constraints(**constraints)))


def test_every_price_by_hand():
    answer = solve()
    priced = {
        c.name: (c.device_ms, c.up_ms, c.rtt_ms, c.server_ms, c.down_ms) for c in answer.candidates
    }
    assert priced == {
        "local": (100.0, 0.0, 0.0, 0.0, 0.0),
        "split at early with aq8t": (22.0, 40.0, 10.0, 8.0, 2.0),
        "split at late with aq8t": (61.0, 10.0, 10.0, 4.0, 2.0),
        "split at late with raw32": (60.5, 40.0, 10.0, 4.0, 2.0),
        "picture as png": (12.0, 120.0, 10.0, 13.0, 2.0),
        "picture as jpeg-90": (5.0, 9.0, 10.0, 13.0, 2.0),
    }
    for candidate in answer.candidates:
        assert candidate.total_ms == sum(priced[candidate.name])
    assert [c.total_ms for c in answer.candidates] == sorted(c.total_ms for c in answer.candidates)
    assert answer.meets_deadline is None


def test_without_constraints_the_jpeg_wins_and_the_reason_shows_the_baselines():
    answer = solve()
    assert answer.chosen.name == "picture as jpeg-90"
    assert answer.reason == (
        "Picture as jpeg-90 is predicted at 39.0 ms; local at 100.0 ms; "
        "split at early with aq8t at 82.0 ms."
    )


def test_fidelity_excludes_the_jpeg():
    answer = solve(minimum_fidelity=0.98)
    assert answer.chosen.name == "split at early with aq8t"
    assert answer.picture.name == "picture as jpeg-90"
    assert answer.picture.refused == "its fidelity is 0.950, 0.98 is asked for"
    assert "picture as jpeg-90 at 39.0 ms, but its fidelity is 0.950" in answer.reason


def test_the_picture_may_stay_at_home():
    answer = solve(picture_may_leave=False, minimum_fidelity=0.995)
    assert (answer.chosen.cut, answer.chosen.codec) == ("late", "aq8t")
    assert {c.refused for c in answer.candidates if c.kind == "picture"} == {
        "the picture may not leave the phone"
    }


def test_a_huge_round_trip_time_means_local():
    answer = solve(dataclasses.replace(PROBLEM, link=dataclasses.replace(LINK, rtt_ms=5000.0)))
    assert answer.chosen is answer.local
    assert answer.reason.startswith("Local is predicted at 100.0 ms; split at early with aq8t at ")


def test_no_bandwidth_to_speak_of_means_local():
    assert solve(dataclasses.replace(PROBLEM, link=Link(0.001, 0.001, 0.0))).chosen.kind == "local"


def test_an_infinite_server_and_link_mean_the_earliest_cut_or_the_picture():
    ideal = dataclasses.replace(
        PROBLEM,
        link=Link(math.inf, math.inf, 0.0),
        server=ServerTimes(0.0, 0.0, 0, {"early": 0.0, "late": 0.0}),
    )
    assert solve(ideal).chosen.name == "picture as jpeg-90"
    assert solve(ideal, picture_may_leave=False).chosen.name == "split at early with aq8t"


def test_the_deadline():
    assert solve(deadline_ms=39.0).meets_deadline is True
    late = solve(deadline_ms=38.0)
    assert late.meets_deadline is False
    assert late.chosen.name == "picture as jpeg-90"
    assert late.reason.endswith("It misses the deadline of 38 ms, as all that is permitted.")


def test_unmeasured_fidelity_meets_no_minimum():
    unknown = dataclasses.replace(PROBLEM, quality=Quality(local=1.0))
    answer = solve(unknown, minimum_fidelity=0.9, picture_may_leave=False)
    assert answer.chosen is answer.local
    refused = {c.refused for c in answer.candidates if c.kind == "split"}
    assert refused == {"its fidelity was not measured, 0.9 is asked for"}


def test_nothing_permitted_is_said_not_papered_over():
    answer = solve(dataclasses.replace(PROBLEM, quality=Quality(), pictures=()), minimum_fidelity=1)
    assert answer.chosen is None
    assert answer.reason.startswith("Nothing is permitted: split at early with aq8t: its")
    assert answer.picture is None
    assert (
        solve(
            dataclasses.replace(PROBLEM, quality=Quality(), pictures=()),
            minimum_fidelity=1,
            deadline_ms=1e9,
        ).meets_deadline
        is False
    )


def test_splits_without_a_time_are_listed_not_guessed():
    partial = dataclasses.replace(
        PROBLEM,
        device=DeviceTimes(100.0, {"early": 20.0}, {"early": {"aq8t": 0.0}}),
        server=dataclasses.replace(SERVER, tail_ms={"late": 4.0}),
    )
    answer = solve(partial)
    assert answer.unmeasured == (
        "split at early with aq8t: no tail_ms",
        "split at late with aq8t: no head_ms, encode_ms",
        "split at late with raw32: no head_ms, encode_ms",
    )
    assert {c.kind for c in answer.candidates} == {"local", "picture"}


def test_ties_keep_more_on_the_phone():
    level = Problem(
        link=Link(math.inf, math.inf, 0.0),
        device=DeviceTimes(10.0, {"c": 10.0}, {"c": {"a": 0.0, "b": 0.0}}),
        server=ServerTimes(10.0, 0.0, 0, {"c": 0.0}),
        wire_bytes={"c": {"a": 20, "b": 10}},
        pictures=(Picture("png", 5, 0.0, None),),
    )
    assert [c.name for c in plan(level).candidates] == [
        "local",
        "split at c with b",
        "split at c with a",
        "picture as png",
    ]


ms = st.integers(0, 200).map(float)
mbit = st.sampled_from([0.1, 1.0, 5.0, 50.0, math.inf])
share = st.none() | st.sampled_from([0.5, 0.9, 0.98, 1.0])
CODECS = ("aq4t", "aq8t", "raw32")


@st.composite
def problems(draw):
    cuts = draw(st.lists(st.sampled_from("abcd"), unique=True))
    codecs = {cut: draw(st.lists(st.sampled_from(CODECS), unique=True)) for cut in cuts}
    shares = {
        cut: {codec: value for codec in codecs[cut] if (value := draw(share)) is not None}
        for cut in cuts
    }
    return Problem(
        link=Link(draw(mbit), draw(mbit), draw(ms)),
        device=DeviceTimes(
            draw(ms),
            {cut: draw(ms) for cut in cuts if draw(st.booleans())},
            {cut: {codec: draw(ms) for codec in codecs[cut]} for cut in cuts},
        ),
        server=ServerTimes(
            draw(ms), draw(ms), draw(st.integers(0, 9000)), {c: draw(ms) for c in cuts}
        ),
        wire_bytes={c: {k: draw(st.integers(1, 99_999)) for k in codecs[c]} for c in cuts},
        quality=Quality(draw(share), shares),
        pictures=tuple(
            Picture(name, draw(st.integers(1, 99_999)), draw(ms), draw(share))
            for name in draw(st.lists(st.sampled_from(["png", "jpeg-75", "jpeg-90"]), unique=True))
        ),
        constraints=Constraints(draw(share), draw(st.booleans()), draw(st.none() | ms)),
    )


def brute_force(p):
    """Totals of all that is permitted, straight from the definition in the module docstring."""

    def travel(size):
        return (
            p.link.rtt_ms
            + size * 8e-3 / p.link.uplink_mbit_s
            + p.server.reply_bytes * 8e-3 / p.link.downlink_mbit_s
        )

    def good(value):
        minimum = p.constraints.minimum_fidelity
        return minimum is None or (value is not None and value >= minimum)

    totals = [p.device.local_ms] if good(p.quality.local) else []
    for cut in p.device.head_ms:
        for codec, size in p.wire_bytes[cut].items():
            if good(p.quality.split.get(cut, {}).get(codec)):
                device = p.device.head_ms[cut] + p.device.encode_ms[cut][codec]
                totals.append(device + travel(size) + p.server.tail_ms[cut])
    for picture in p.pictures:
        if p.constraints.picture_may_leave and good(picture.fidelity):
            server = p.server.preprocess_ms + p.server.whole_ms
            totals.append(picture.encode_ms + travel(picture.size_bytes) + server)
    return totals


@settings(deadline=None, max_examples=300)
@given(problems())
def test_the_choice_is_the_best_of_all_by_brute_force(problem):
    answer, totals = plan(problem), brute_force(problem)
    permitted = [c.total_ms for c in answer.candidates if not c.refused]
    assert sorted(permitted) == pytest.approx(sorted(totals))
    if totals:
        assert answer.chosen is not None
        assert answer.chosen.total_ms == pytest.approx(min(totals))
    else:
        assert answer.chosen is None
    assert answer.local in answer.candidates
    assert (answer.picture is None) == (problem.pictures == ())
    if problem.constraints.deadline_ms is not None:
        in_time = [t for t in permitted if t <= problem.constraints.deadline_ms]
        assert answer.meets_deadline == bool(in_time)


@settings(deadline=None, max_examples=50)
@given(problems())
def test_a_plan_is_json(problem):
    answer = plan(problem)
    assert from_json(Plan, parse(canonical_bytes(answer))) == answer


def test_wire_bytes_of_the_cuts_that_have_heads():
    early, late = manifest_of(golden_tensors(), name="tiny").cuts
    cuts = (early, dataclasses.replace(late, materialised=False))
    assert wire_bytes_of(cuts) == {"early": {"raw32": 256, "aq8t+deflate": 64}}


def test_what_a_manifest_says_of_splits_is_that_of_the_artifacts_own_heads():
    """The cut's figures are those of fp32 heads, which stand for no other's."""
    manifest = manifest_of(golden_tensors(), name="tiny")
    exact, wanted = manifest.artifacts[0], {"early": ["raw32", "aq4c"], "late": []}
    worse, lucky = (
        {"early": {"raw32": dataclasses.replace(exact.agreement, top1=share)}}
        for share in (0.5, 1.0)
    )
    half = dataclasses.replace(exact, precision="fp16")
    for artifact, shares in [
        (exact, {"early": {"raw32": 1.0}, "late": {}}),
        (half, {"early": {}, "late": {}}),
        (dataclasses.replace(half, splits=worse), {"early": {"raw32": 0.5}, "late": {}}),
        (None, {"early": {}, "late": {}}),
    ]:
        assert split_fidelity(artifact, manifest.cuts, wanted) == shares
    seldom = {"raw32": dataclasses.replace(exact.agreement, top1=0.9)}
    cut = dataclasses.replace(manifest.cuts[0], fidelity=seldom)
    found = split_fidelity(dataclasses.replace(half, splits=lucky), [cut], {"early": ["raw32"]})
    assert found == {"early": {"raw32": 0.9}}  # heads of more noise are not better


def test_a_model_that_does_not_classify_has_no_fidelity():
    manifest = manifest_of(golden_tensors(), name="tiny")
    noise = dataclasses.replace(manifest.artifacts[0].agreement, top1=None, low=None, high=None)
    early = dataclasses.replace(manifest.cuts[0], fidelity={"raw32": noise})
    assert split_fidelity(manifest.artifacts[0], [early], {"early": ["raw32"]}) == {"early": {}}


def test_a_cut_that_is_not_on_offer_is_refused():
    with pytest.raises(UnknownName, match=r"(?s)'earl'.*Did you mean 'early'"):
        dataclasses.replace(PROBLEM, device=DeviceTimes(1.0, {"earl": 1.0}))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Link(0.0, 1.0, 1.0),
        lambda: Link(1.0, -1.0, 1.0),
        lambda: Link(math.nan, 1.0, 1.0),
        lambda: Link(1.0, 1.0, math.inf),
        lambda: DeviceTimes(-1.0),
        lambda: DeviceTimes(1.0, {"a": math.nan}),
        lambda: ServerTimes(1.0, 1.0, -1),
        lambda: Picture("png", -1, 1.0, None),
        lambda: Picture("png", 1, 1.0, 1.5),
        lambda: Quality(local=-0.1),
        lambda: Constraints(minimum_fidelity=98.0),
        lambda: Constraints(deadline_ms=-1.0),
        lambda: Problem(LINK, DEVICE, SERVER, {**BYTES, "x": {"raw32": -1}}),
    ],
)
def test_impossible_figures_are_refused(make):
    with pytest.raises(UsageFault, match="out of range"):
        make()

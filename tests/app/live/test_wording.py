from dataclasses import replace
from pathlib import Path

import pytest

from app import figures
from app.live import wording
from app.live.state import BundleCard, LiveState, Mode, Place, Result
from app.problems import problem_of
from headtail.errors import UsageFault

LOCAL = Result(
    ranked=(),
    place=Place.DEVICE,
    badge="local",
    reason="",
    prepare_ms=3.14,
    head_ms=20.0,
    tail_ms=0.0,
    total_ms=20.0,
    bytes_up=0,
    bytes_down=0,
)
SPLIT = replace(
    LOCAL,
    place=Place.SPLIT,
    badge="split at b8, aq8t+deflate",
    head_ms=5.0,
    tail_ms=15.0,
    bytes_up=19_213,
    bytes_down=4_123,
)


@pytest.mark.parametrize(
    ("value", "text"), [(0.844, "0.84 ms"), (12.34, "12.3 ms"), (140.4, "140 ms")]
)
def test_milliseconds(value, text):
    assert figures.milliseconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(980, "980 B"), (19_213, "19.2 KB"), (18_700_000, "18.7 MB")]
)
def test_byte_size(value, text):
    assert figures.byte_size(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.9713, "97.1 %"),
        (0.0, "0.0 %"),
        (1.0, "100.0 %"),
        (0.0001, "< 0.1 %"),
        (0.99996, "> 99.9 %"),
    ],
)
def test_percent_never_rounds_to_a_certainty_that_is_none(value, text):
    assert figures.percent(value) == text


def test_subtitle_names_the_artifact_and_its_agreement():
    card = BundleCard("net", "litert", "fp32", 18_700_000, 0.9987, 24)
    assert wording.subtitle(card).split("  \u00b7  ") == [
        "LiteRT fp32",
        "18.7 MB",
        "agrees 0.999 (n=24)",
    ]


def test_subtitle_claims_no_agreement_that_was_not_measured():
    assert "agrees" not in wording.subtitle(BundleCard("net", "litert", "fp32", 1, None, 24))


def test_route_of_a_split_answer():
    state = LiveState(mode=Mode.OFFLOAD, server="http://h:1")
    assert wording.route_ends(state, SPLIT) == (
        "This computer  5.0 ms",
        "Server + network  15.0 ms",
    )
    assert wording.device_share(SPLIT) == 0.25
    assert wording.route_note(state, SPLIT).startswith("19.2 KB sent, 4.1 KB received.")


def test_route_of_a_local_answer():
    assert wording.route_ends(LiveState(device="this phone"), LOCAL) == (
        "This phone  20.0 ms",
        "",
    )
    assert wording.device_share(LOCAL) == 1.0
    assert wording.route_note(LiveState(), LOCAL).startswith("Nothing left this device.")


def test_a_lost_server_is_said_with_its_reason():
    lost = replace(
        LOCAL, place=Place.FALLBACK, badge="local (server lost)", reason="It stopped answering."
    )
    assert wording.route_note(LiveState(mode=Mode.OFFLOAD), lost) == "It stopped answering."


def test_offload_without_an_address_is_said():
    note = wording.route_note(LiveState(mode=Mode.OFFLOAD), LOCAL)
    assert note == "No server address yet, so nothing left this device."


def test_the_empty_screen_says_what_to_do_and_promises_a_phone_nothing():
    assert wording.headline(LiveState()) == "No bundle yet"
    assert wording.hint(LiveState()).startswith("Drop a .bundle folder or .zip here")
    assert wording.hint(LiveState(device="this phone")) == (
        "This version opens bundles on a computer"
    )


def test_the_empty_screen_follows_the_bundle():
    opening = LiveState(bundle_path=Path("x")).asking()
    assert wording.headline(opening) == "Opening the bundle"
    assert wording.headline(replace(opening, busy=False)) == "The bundle could not be opened"
    card = BundleCard("net", "litert", "fp32", 1, None, 0)
    assert wording.headline(replace(opening, bundle=card, busy=False)) == "Choose a photo"


def test_our_errors_are_shown_as_their_sentences():
    problem = problem_of(UsageFault("It is 3.", expected="It must be 4.", remedy="Add 1."))
    assert (problem.what, problem.remedy) == ("It is 3.", "It must be 4. Add 1.")
    assert problem.full_text == "It is 3. It must be 4. Add 1."


def test_other_errors_can_be_copied_with_their_traceback():
    try:
        raise KeyError("missing")
    except KeyError as error:
        problem = problem_of(error)
    assert "KeyError" in problem.what
    assert "test_wording.py" in problem.full_text

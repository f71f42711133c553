from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app import figures
from app.live import wording
from app.live.readings import Counts, Readings
from app.live.state import LiveState, Place, SourceKind
from app.problems import Problem, problem_of
from app.sources.photo import Photo
from headtail.errors import UsageFault
from tests.app.live.results import card, result

LOCAL = result(total_ms=20.0, prepare_ms=3.14)
SPLIT = result(
    place=Place.SPLIT,
    badge="split at b8, aq8t+deflate",
    reason="Predicted 20 ms.",
    head_ms=5.0,
    tail_ms=15.0,
    bytes_up=19_213,
    bytes_down=4_123,
)
OPEN = LiveState(bundle_path=Path("x"), bundle=card())
DEMO = replace(OPEN, source=SourceKind.DEMO, result=LOCAL)


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


def test_a_name_is_cut_only_where_it_is_too_long():
    assert figures.shortened("a" * 200) == "a" * 200
    assert figures.shortened("a" * 201) == "a" * 199 + "\u2026"
    assert figures.shortened("tomato", most=3) == "to\u2026"


def test_subtitle_names_the_artifact_and_its_agreement():
    assert wording.subtitle(card()).split("  \u00b7  ") == [
        "LiteRT fp32",
        "18.7 MB",
        "agrees 0.999 (n=24)",
    ]


def test_subtitle_claims_no_agreement_that_was_not_measured():
    assert "agrees" not in wording.subtitle(card(agreement=None))


def test_what_runs_the_model_is_named_with_what_was_passed_over():
    assert wording.how(card()) == "litert 2.3.0 on cpu, 1 thread"
    passed = card(runtime="litert-java", threads=2, notes=("litert-ctypes: no library.",))
    assert wording.how(passed) == ("litert-java 2.3.0 on cpu, 2 threads. litert-ctypes: no library")


def test_route_of_a_split_answer():
    assert wording.route_ends(OPEN, SPLIT) == (
        "This computer  5.0 ms",
        "Server + network  15.0 ms",
    )
    assert wording.device_share(SPLIT) == 0.25
    assert wording.route_note(OPEN, SPLIT) == "19.2 KB sent, 4.1 KB received.  Predicted 20 ms."


def test_route_of_a_local_answer():
    assert wording.route_ends(replace(OPEN, device="this phone"), LOCAL) == (
        "This phone  20.0 ms",
        "",
    )
    assert wording.device_share(LOCAL) == 1.0
    assert wording.route_note(OPEN, LOCAL) == (
        "Nothing left this device.  Photo prepared in 3.1 ms."
    )


def test_a_lost_server_is_said_with_its_reason():
    lost = replace(
        LOCAL, place=Place.FALLBACK, badge="local (server lost)", reason="It stopped answering."
    )
    assert wording.route_note(OPEN, lost) == "It stopped answering."


def test_what_became_of_the_frames_is_shown_while_they_come():
    counts = Counts(handed=12, answered=9, skipped=2)
    state = replace(DEMO, readings=Readings(counts=counts))
    assert wording.route_note(state, LOCAL) == (
        "Nothing left this device.  Frames: 9 answered, 2 skipped."
    )
    assert wording.counted(replace(counts, failed=1)).endswith("2 skipped, 1 failed.")


def test_a_photo_has_one_time_and_what_moves_has_percentiles_once_they_say_something():
    assert wording.pace(replace(OPEN, result=LOCAL)) == "20.0 ms"
    few = Readings(n=3, p50_ms=10.0, p95_ms=30.0, fps=9.0)
    assert wording.pace(replace(DEMO, readings=few)) == "24.0 ms"
    many = replace(few, n=30)
    assert wording.pace(replace(DEMO, readings=many)) == "9 fps  \u00b7  p50 10.0, p95 30.0 ms"
    paused = replace(DEMO, readings=many, playing=False)
    assert wording.pace(paused) == "p50 10.0, p95 30.0 ms"


def test_what_cannot_go_on_says_what_it_waits_for_and_claims_no_rate():
    readings = Readings(n=30, p50_ms=10.0, p95_ms=30.0, fps=9.0)
    held = replace(DEMO, readings=readings, held="Benchmark")
    assert wording.pace(held) == "waiting for Benchmark"
    assert wording.headline(held) == "Waiting for Benchmark"  # there is no picture yet
    assert wording.hint(held) == "It goes on when Benchmark is done"
    paused = replace(held, playing=False)
    assert wording.pace(paused) == "p50 10.0, p95 30.0 ms"
    assert wording.headline(paused) == "Waiting for the first picture"


def test_a_photo_is_not_running_while_the_device_is_held():
    photo = Photo("a", "a", lambda: np.zeros((1, 1, 3), np.uint8))
    chosen = replace(OPEN, chosen=photo, busy=True)
    assert wording.pace(chosen) == "running"
    assert wording.pace(replace(chosen, held="Benchmark")) == "waiting for Benchmark"
    answered = replace(chosen, held="Benchmark", busy=False, result=LOCAL)
    assert wording.pace(answered) == "20.0 ms"


def test_the_empty_page_says_what_to_do_and_asks_no_phone_to_drop_files():
    assert wording.headline(LiveState()) == "No bundle yet"
    assert wording.hint(LiveState()).endswith("or drop a .bundle folder or .zip here")
    assert wording.hint(LiveState(device="this phone")) == "Get one on the Models page"


def test_the_empty_page_follows_the_bundle():
    opening = LiveState(bundle_path=Path("x")).asking()
    assert wording.headline(opening) == "Opening the bundle"
    assert wording.headline(replace(opening, busy=False)) == "The bundle could not be opened"
    assert wording.headline(replace(opening, bundle=card(), busy=False)) == "Choose a photo"
    assert wording.hint(replace(OPEN, can_pick=True)) == "Press the picture below"
    assert (
        wording.headline(replace(OPEN, source=SourceKind.DEMO)) == "Waiting for the first picture"
    )


def test_a_source_that_gives_nothing_takes_the_place_of_everything_else():
    refused = Problem("The camera may not be used.", "Allow it.", "")
    state = replace(DEMO, obstacle=refused)
    assert (wording.headline(state), wording.hint(state)) == (refused.what, refused.remedy)


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


def test_a_phone_without_a_picker_is_not_told_to_drop_an_image():
    assert wording.hint(OPEN) == "Drop an image here"
    assert "use the camera" in wording.hint(replace(OPEN, device="this phone"))

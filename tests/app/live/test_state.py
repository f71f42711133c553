import dataclasses
from pathlib import Path

import numpy as np

from app.live.state import (
    Answered,
    BundleCard,
    Failed,
    LiveState,
    Mode,
    Opened,
    PhotoCard,
    Picture,
    Pictured,
    Place,
    Result,
    Thumbnailed,
    after,
)
from app.problems import Problem
from app.sources.photo import Photo

CARD = BundleCard("net", "litert", "fp32", 1000, 1.0, 8)
RESULT = Result((), Place.DEVICE, "local", "", 1.0, 2.0, 0.0, 2.0, 0, 0)
PROBLEM = Problem("It broke.", "Mend it.", "It broke. Mend it.")


def photo(key):
    return Photo(key, key, lambda: np.zeros((2, 2, 3), np.uint8))


def picture():
    return Picture(np.zeros((2, 2, 3), np.uint8))


def test_asking_takes_a_new_ticket_and_puts_the_old_error_away():
    state = LiveState(problem=PROBLEM).asking(mode=Mode.OFFLOAD)
    assert (state.ticket, state.busy, state.problem, state.mode) == (1, True, None, Mode.OFFLOAD)


def test_an_answer_to_an_older_ticket_changes_nothing():
    state = LiveState().asking().asking()
    for stale in (
        Answered(1, RESULT),
        Failed(1, PROBLEM),
        Pictured(1, picture()),
        Opened(1, CARD, (photo("a"),)),
    ):
        assert after(state, stale) is state


def test_another_photo_takes_the_answer_of_the_first_with_it():
    a, b = photo("a"), photo("b")
    shown = picture()
    state = LiveState(samples=(PhotoCard(a), PhotoCard(b, shown))).choosing(a)
    state = after(after(state, Pictured(1, picture())), Answered(1, RESULT))
    assert (state.result, state.busy) == (RESULT, False)
    state = state.choosing(b)
    assert (state.result, state.preview, state.chosen) == (None, shown, b)


def test_the_same_photo_again_keeps_its_answer_until_the_new_one():
    a = photo("a")
    state = LiveState(samples=(PhotoCard(a),)).choosing(a)
    state = after(state, Answered(1, RESULT)).choosing(a)
    assert (state.result, state.busy, state.ticket) == (RESULT, True, 2)


def test_an_error_may_be_followed_by_the_local_answer_and_both_are_shown():
    state = LiveState(chosen=photo("a")).asking()
    state = after(after(state, Failed(1, PROBLEM)), Answered(1, RESULT))
    assert (state.problem, state.result, state.busy) == (PROBLEM, RESULT, False)


def test_opening_fills_the_strip_once_and_keeps_the_thumbnails():
    a = photo("a")
    state = after(LiveState(bundle_path=Path("x")).asking(), Opened(1, CARD, (a,)))
    assert (state.bundle, state.busy) == (CARD, False)  # no photo is chosen: nothing more to come
    shown = picture()
    state = after(state, Thumbnailed(a, shown)).choosing(a)
    state = after(state, Opened(2, CARD, (a,)))
    assert state.samples == (PhotoCard(a, shown),)
    assert state.busy


def test_own_photos_come_first_and_get_their_thumbnails_whatever_the_ticket():
    mine, sample, shown = photo("mine"), photo("sample"), picture()
    state = LiveState(own=(PhotoCard(mine),), samples=(PhotoCard(sample),), ticket=7)
    state = after(state, Thumbnailed(mine, shown))
    assert state.photos == (PhotoCard(mine, shown), PhotoCard(sample))


def test_the_request_says_what_the_screen_wants():
    a = photo("a")
    state = LiveState(bundle_path=Path("x"), mode=Mode.OFFLOAD, server="http://h:1").choosing(a)
    request = state.request()
    assert dataclasses.astuple(request)[:2] == (1, Path("x"))
    assert (request.photo, request.mode, request.server) == (a, Mode.OFFLOAD, "http://h:1")

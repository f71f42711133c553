from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.live.readings import Readings
from app.live.request import Choices
from app.live.state import (
    Answered,
    Failed,
    LiveState,
    Opened,
    PhotoCard,
    Picture,
    Pictured,
    SourceKind,
    Stopped,
    Thumbnailed,
    after,
)
from app.problems import Problem
from app.settings.preferences import Preferences
from app.sources.photo import Photo
from tests.app.live.results import card, result

PROBLEM = Problem("It broke.", "Mend it.", "It broke. Mend it.")


def photo(key):
    return Photo(key, key, lambda: np.zeros((2, 2, 3), np.uint8))


def picture():
    return Picture.of(np.zeros((2, 2, 3), np.uint8))


def test_asking_takes_a_new_ticket_and_puts_the_old_error_away():
    state = LiveState(problem=PROBLEM).asking(choices=Choices(mode="auto"))
    assert (state.ticket, state.run, state.busy, state.problem) == (1, 0, True, None)
    assert state.choices.mode == "auto"


def test_another_source_takes_a_new_run_and_the_answer_of_the_first_with_it():
    state = replace(LiveState(), result=result(), obstacle=PROBLEM, playing=False)
    state = state.starting(source=SourceKind.DEMO)
    assert (state.ticket, state.run, state.source) == (1, 1, SourceKind.DEMO)
    assert (state.result, state.obstacle, state.playing) == (None, None, True)
    assert state.moving


@pytest.mark.parametrize(
    "stale",
    [
        Answered(1, 1, result(), Readings()),
        Answered(2, 0, result(), Readings()),
        Failed(1, PROBLEM),
        Pictured(0, picture()),
        Stopped(0, PROBLEM),
        Opened(1, card(), (photo("a"),)),
    ],
    ids=lambda event: type(event).__name__,
)
def test_an_event_of_an_older_ticket_or_run_changes_nothing(stale):
    state = LiveState().asking().starting()
    assert (state.ticket, state.run) == (2, 1)
    assert after(state, stale) is state


def test_a_frame_and_its_answer_are_shown():
    state = LiveState(bundle_path=Path("x")).starting(source=SourceKind.DEMO)
    shown, answer, readings = picture(), result(), Readings(n=3)
    state = after(after(state, Pictured(1, shown)), Answered(1, 1, answer, readings))
    assert (state.picture, state.result, state.readings) == (shown, answer, readings)
    assert not state.busy


def test_a_source_that_gives_nothing_says_why_and_does_not_play():
    state = after(LiveState().starting(source=SourceKind.CAMERA), Stopped(1, PROBLEM))
    assert (state.obstacle, state.playing, state.busy, state.problem) == (
        PROBLEM,
        False,
        False,
        None,
    )


def test_an_error_may_be_followed_by_the_local_answer_and_both_are_shown():
    state = LiveState(chosen=photo("a")).asking()
    answer = result()
    state = after(after(state, Failed(1, PROBLEM)), Answered(1, 0, answer, Readings()))
    assert (state.problem, state.result, state.busy) == (PROBLEM, answer, False)


def test_an_error_with_which_it_goes_on_leaves_the_answer_awaited():
    state = after(LiveState(chosen=photo("a")).asking(), Failed(1, PROBLEM, goes_on=True))
    assert (state.problem, state.busy) == (PROBLEM, True)


def test_opening_fills_the_strip_once_and_keeps_the_thumbnails():
    a = photo("a")
    state = after(LiveState(bundle_path=Path("x")).asking(), Opened(1, card(), (a,)))
    assert (state.bundle, state.busy) == (card(), False)  # no photo is chosen: no more to come
    shown = picture()
    state = after(state, Thumbnailed(a, shown)).starting(chosen=a)
    state = after(state, Opened(2, card(), (a,)))
    assert state.samples == (PhotoCard(a, shown),)
    assert state.busy


def test_own_photos_come_first_and_get_their_thumbnails_whatever_the_ticket():
    mine, sample, shown = photo("mine"), photo("sample"), picture()
    state = LiveState(own=(PhotoCard(mine),), samples=(PhotoCard(sample),), ticket=7)
    state = after(state, Thumbnailed(mine, shown))
    assert state.photos == (PhotoCard(mine, shown), PhotoCard(sample))


def test_the_request_says_what_the_page_wants():
    choices = Choices.of(Preferences(server="http://h:1", mode="auto", threads=2))
    state = LiveState(bundle_path=Path("x"), choices=choices).starting()
    request = state.request()
    assert (request.ticket, request.run, request.bundle) == (1, 1, Path("x"))
    assert request.choices == Choices(mode="auto", server="http://h:1", threads=2)

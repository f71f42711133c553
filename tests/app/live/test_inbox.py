from typing import Any

import numpy as np

from app.live.inbox import Inbox
from app.live.picture import Picture
from app.live.readings import Readings
from app.live.state import Answered, Opened, Pictured
from tests.app.live.results import card, result


def picture():
    return Picture.of(np.zeros((2, 2, 3), np.uint8))


class Turns:
    """An event loop that turns when the test says so."""

    def __init__(self):
        self.calls: list[Any] = []
        self.taken: list[Any] = []
        self.inbox = Inbox(self.calls.append, self.taken.append)

    def turn(self):
        calls, self.calls[:] = list(self.calls), []
        for call in calls:
            call()
        return self.taken.pop() if self.taken else []


def test_however_many_frames_come_one_turn_takes_the_newest():
    turns = Turns()
    last = Pictured(1, picture())
    for _ in range(50):
        turns.inbox.put(Pictured(1, picture()))
        turns.inbox.put(Answered(1, 1, result(), Readings()))
    turns.inbox.put(last)
    assert len(turns.calls) == 1
    events = turns.turn()
    assert [type(event).__name__ for event in events] == ["Answered", "Pictured"]
    assert events[1] is last


def test_everything_else_arrives_in_order():
    turns = Turns()
    first, second = Opened(1, card(), ()), Opened(2, card(), ())
    for event in (first, Pictured(1, picture()), second):
        turns.inbox.put(event)
    events = turns.turn()
    assert events[0] is first
    assert events[2] is second


def test_a_late_picture_of_another_source_takes_nobodys_place():
    turns = Turns()
    wanted, late = Pictured(2, picture()), Pictured(1, picture())
    turns.inbox.put(wanted)
    turns.inbox.put(late)
    assert turns.turn() == [wanted, late]


def test_the_next_turn_begins_anew():
    turns = Turns()
    turns.inbox.put(Pictured(1, picture()))
    turns.turn()
    assert turns.turn() == []
    turns.inbox.put(Pictured(1, picture()))
    assert len(turns.turn()) == 1

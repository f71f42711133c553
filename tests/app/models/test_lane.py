"""One thread for jobs: in turn, none takes the others down, and it ends."""

import queue
import threading
from typing import Any

import pytest

from app.models.lane import Lane

LIMIT_S = 20


class Held:
    """A job that has begun and waits to be let on."""

    def __init__(self):
        self.begun, self.gate = threading.Event(), threading.Event()
        self.done = False

    def __call__(self):
        self.begun.set()
        assert self.gate.wait(LIMIT_S)
        self.done = True


@pytest.fixture
def calls():
    made: queue.Queue[Any] = queue.Queue()
    return made


@pytest.fixture
def lane(calls):
    return Lane("jobs", hand_over=calls.put, failed=calls.put)


def test_jobs_run_in_turn_and_one_that_fails_is_told(lane, calls):
    def fail():
        raise KeyError("no such key")

    lane.submit(lambda: calls.put("first"))
    lane.submit(fail)
    lane.submit(lambda: calls.put("last"))
    assert calls.get(timeout=LIMIT_S) == "first"
    calls.get(timeout=LIMIT_S)()  # on the UI thread
    told = [calls.get(timeout=LIMIT_S) for _ in range(2)]
    assert told[0] == "last"
    assert isinstance(told[1], KeyError)
    assert lane.close(timeout_s=LIMIT_S)


def test_the_end_waits_for_what_runs_and_drops_what_waits(lane, calls):
    held = Held()
    lane.submit(held)
    for _ in range(5):
        lane.submit(lambda: calls.put("too late"))
    assert held.begun.wait(LIMIT_S)
    assert not lane.close(timeout_s=0.01)
    held.gate.set()
    assert lane.close(timeout_s=LIMIT_S)  # which those that were dropped do not delay
    assert held.done
    assert calls.empty()

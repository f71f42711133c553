import queue
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.live.pipeline import Pipeline
from app.live.readings import Counts
from app.live.request import Choices, Request
from app.live.state import Answered, Failed, Opened, Pictured
from app.sources.base import SourceFrame
from tests.app.live.results import card, result

SOON_S = 5.0


def request(ticket=1, run=1, *, ahead=True):
    return Request(ticket, run, Path("x"), Choices(), ahead)


def frame(shade, **turned):
    return SourceFrame(np.full((2, 4, 3), shade, np.uint8), 0.0, shade, **turned)


class Bench:
    """A pipeline whose answers can be held back, so that the test decides on order, not time."""

    def __init__(self):
        self.told: queue.Queue[Any] = queue.Queue()
        self.begun: queue.Queue[int] = queue.Queue()
        self.release = threading.Semaphore(0)
        self.held = False
        self.passed: list[Any] = []
        self.closed_on: threading.Thread | None = None
        self.pipeline = Pipeline(self, tell=self.told.put)

    def prepare(self, request):
        if request.bundle == Path("broken"):
            raise ValueError("no such bundle")
        yield Opened(request.ticket, card(), ())

    def answer(self, pixels, *, handed_s):
        shade = int(pixels[0, 0, 0])
        self.begun.put(shade)
        if self.held:
            assert self.release.acquire(timeout=SOON_S)
        if shade == 13:
            raise ValueError("unlucky")
        return None if shade == 99 else result(frame_ms=float(shade))

    def close(self):
        self.closed_on = threading.current_thread()

    def until(self, kind):
        """The next event of a kind; pictures and answers come from two threads, in any order."""
        while not any(isinstance(event, kind) for event in self.passed):
            self.passed.append(self.told.get(timeout=SOON_S))
        event = next(event for event in self.passed if isinstance(event, kind))
        self.passed.remove(event)
        return event


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.release.release(100)
    assert bench.pipeline.stop()


def test_no_answer_is_told_before_its_picture():
    answered, order = threading.Event(), list[Any]()
    own = Bench()

    def tell(event):
        if isinstance(event, Pictured):
            assert own.begun.get(timeout=SOON_S) == 5
            answered.wait(0.2)  # the answer is there: nothing but the order holds it back
        order.append(type(event))
        if isinstance(event, Answered):
            answered.set()

    pipeline = Pipeline(own, tell=tell)
    pipeline.ask(request())
    pipeline.hand_in(1, frame(5))
    assert answered.wait(SOON_S)
    assert order == [Opened, Pictured, Answered]
    assert pipeline.stop()
    assert own.pipeline.stop()


def test_a_frame_is_shown_and_answered_with_its_numbers(bench):
    bench.pipeline.ask(request(ticket=7, run=3))
    assert bench.until(Opened).ticket == 7
    bench.pipeline.hand_in(3, frame(5))
    assert (bench.until(Pictured).picture.pixels == 5).all()
    answered = bench.until(Answered)
    assert (answered.ticket, answered.run, answered.result.frame_ms) == (7, 3, 5.0)
    assert answered.readings.counts == Counts(handed=1, answered=1)
    assert (answered.readings.n, answered.readings.p50_ms) == (1, 5.0)


def test_the_newest_waiting_frame_wins_and_the_others_count_as_skipped(bench):
    bench.held = True
    bench.pipeline.ask(request())
    bench.pipeline.hand_in(1, frame(1))
    assert bench.begun.get(timeout=SOON_S) == 1
    for shade in (2, 3, 4):
        bench.pipeline.hand_in(1, frame(shade))
    bench.release.release(2)
    assert bench.until(Answered).result.frame_ms == 1
    assert bench.until(Answered).result.frame_ms == 4
    assert bench.pipeline.counts() == Counts(handed=4, answered=2, skipped=2)


def test_in_a_replay_a_picture_comes_with_its_own_answer(bench):
    bench.pipeline.ask(request(ahead=False))
    bench.pipeline.hand_in(1, frame(5))
    assert isinstance(bench.told.get(timeout=SOON_S), Opened)
    answered = bench.told.get(timeout=SOON_S)
    assert isinstance(answered, Answered)
    assert answered.picture is not None
    assert (answered.picture.pixels == 5).all()
    bench.pipeline.hand_in(1, frame(99))  # nothing is open: it is shown all the same
    assert (bench.until(Pictured).picture.pixels == 99).all()


def test_a_frame_of_a_source_that_was_left_is_skipped_and_not_shown(bench):
    bench.held = True
    bench.pipeline.ask(request(run=1))
    bench.pipeline.hand_in(1, frame(1))
    assert bench.begun.get(timeout=SOON_S) == 1
    bench.pipeline.hand_in(1, frame(2))  # waits
    bench.pipeline.ask(request(ticket=2, run=2))
    bench.pipeline.hand_in(1, frame(3))  # late
    bench.release.release(2)
    bench.pipeline.hand_in(2, frame(4))
    shown = [bench.until(Pictured).picture.pixels[0, 0, 0] for _ in range(3)]
    assert shown == [1, 2, 4]
    assert bench.begun.get(timeout=SOON_S) == 4
    while bench.until(Answered).ticket != 2:
        pass
    assert bench.pipeline.counts() == Counts(handed=4, answered=2, skipped=2)


def test_what_was_waiting_is_answered_by_the_newest_request(bench):
    bench.held = True
    bench.pipeline.ask(request(ticket=1))
    assert bench.until(Opened).ticket == 1
    bench.pipeline.hand_in(1, frame(1))
    assert bench.begun.get(timeout=SOON_S) == 1
    bench.pipeline.hand_in(1, frame(2))
    bench.pipeline.ask(request(ticket=2))
    bench.release.release(2)
    assert bench.until(Answered).ticket == 1
    assert bench.until(Opened).ticket == 2
    assert bench.until(Answered).ticket == 2


def test_a_frame_that_fails_is_counted_and_the_next_is_answered(bench):
    bench.pipeline.ask(request(ticket=4))
    bench.pipeline.hand_in(1, frame(13))
    failed = bench.until(Failed)
    assert (failed.ticket, "ValueError" in failed.problem.what) == (4, True)
    bench.pipeline.hand_in(1, frame(1))
    assert bench.until(Answered).readings.counts == Counts(handed=2, answered=1, failed=1)


def test_a_frame_for_which_nothing_is_open_is_skipped(bench):
    bench.pipeline.ask(request())
    bench.pipeline.hand_in(1, frame(99))
    assert bench.begun.get(timeout=SOON_S) == 99
    bench.pipeline.hand_in(1, frame(1))
    assert bench.until(Answered).readings.counts == Counts(handed=2, answered=1, skipped=1)


def test_a_request_that_fails_says_so_and_the_next_is_answered(bench):
    bench.pipeline.ask(Request(1, 1, Path("broken"), Choices()))
    assert "ValueError" in bench.until(Failed).problem.what
    bench.pipeline.ask(request(ticket=2))
    assert bench.until(Opened).ticket == 2


def test_a_frame_is_turned_upright_before_anybody_sees_it(bench):
    bench.pipeline.ask(request())
    bench.pipeline.hand_in(1, frame(1, rotation=90))
    assert bench.until(Pictured).picture.pixels.shape == (4, 2, 3)


def test_stop_drops_what_waits_and_closes_on_the_thread(bench):
    bench.held = True
    bench.pipeline.ask(request())
    bench.pipeline.hand_in(1, frame(1))
    assert bench.begun.get(timeout=SOON_S) == 1
    bench.pipeline.hand_in(1, frame(2))
    assert not bench.pipeline.stop(timeout_s=0.01)
    bench.release.release(2)
    assert bench.pipeline.stop()
    assert bench.closed_on is not threading.current_thread()
    assert bench.closed_on is not None
    bench.pipeline.hand_in(1, frame(3))  # nothing is taken any more
    assert bench.pipeline.counts() == Counts(handed=2, answered=1, skipped=1)
    assert bench.begun.empty()

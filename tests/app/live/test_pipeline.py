import queue
import threading
from typing import Any

import pytest

from app.live.pipeline import Worker

SOON_S = 5.0


class Bench:
    """A worker whose jobs can be held back, so that order is decided by the test, not by time."""

    def __init__(self):
        self.delivered: queue.Queue[Any] = queue.Queue()
        self.started = threading.Event()
        self.release = threading.Event()
        self.finished = threading.Event()
        self.worker = Worker(
            self.work, deliver=self.deliver, failed=self.failed, finish=self.finished.set
        )

    def work(self, job):
        yield ("begin", job)
        if job == "hold":
            self.started.set()
            assert self.release.wait(SOON_S)
        if job == "raise":
            raise ValueError("no such thing")
        yield ("end", job)

    def deliver(self, event):
        self.delivered.put((event, threading.current_thread()))

    @staticmethod
    def failed(job, error):
        return ("failed", job, str(error))

    def until(self, last):
        """Every event up to and with `last`."""
        events: list[Any] = []
        while not events or events[-1] != last:
            events.append(self.delivered.get(timeout=SOON_S)[0])
        return events


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.release.set()
    assert bench.worker.stop()


def test_events_come_in_order_on_one_other_thread(bench):
    bench.worker.submit("job")
    (begin, one), (end, other) = (bench.delivered.get(timeout=SOON_S) for _ in range(2))
    assert (begin, end) == (("begin", "job"), ("end", "job"))
    assert one is other is not threading.current_thread()


def test_the_newest_waiting_job_wins_and_the_running_one_is_finished(bench):
    bench.worker.submit("hold")
    assert bench.started.wait(SOON_S)
    for job in ("first", "second", "last"):
        bench.worker.submit(job)
    bench.release.set()
    events = bench.until(("end", "last"))
    assert [job for kind, job in events if kind == "end"] == ["hold", "last"]


def test_a_job_that_raises_is_reported_and_the_next_is_answered(bench):
    bench.worker.submit("raise")
    assert bench.until(("failed", "raise", "no such thing"))[0] == ("begin", "raise")
    bench.worker.submit("last")
    assert bench.until(("end", "last"))


def test_stop_lets_the_running_job_end_drops_the_waiting_one_and_cleans_up(bench):
    bench.worker.submit("hold")
    assert bench.started.wait(SOON_S)
    bench.worker.submit("last")
    assert not bench.worker.stop(timeout_s=0.01)
    bench.release.set()
    assert bench.worker.stop()
    assert bench.finished.is_set()
    assert bench.until(("end", "hold")) == [("begin", "hold"), ("end", "hold")]
    assert bench.delivered.empty()


def test_nothing_is_taken_after_stop(bench):
    assert bench.worker.stop()
    bench.worker.submit("late")
    assert bench.delivered.empty()

"""An app that ends: every part is told first, and then they have one time together."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.application import Application
from app.ending import close_all, ended
from app.platforms import find_platform

LIMIT_S = 30.0
SOON_S = 0.05


class Part:
    """Ends at once, or never."""

    def __init__(self, waited, *, ends=True):
        self.waited, self.ends = waited, ends

    def close(self, *, timeout_s):
        self.waited.append((self, timeout_s))
        if not self.ends:
            threading.Event().wait(timeout_s)  # which nobody sets
        return self.ends


def test_all_are_told_before_one_is_waited_for_and_the_time_is_for_all_together():
    waited: list[tuple[Part, float]] = []
    stuck, other, last = Part(waited, ends=False), Part(waited), Part(waited, ends=False)
    assert not close_all([stuck.close, other.close, last.close], timeout_s=SOON_S)
    assert waited[:3] == [(stuck, 0.0), (other, 0.0), (last, 0.0)]
    assert [part for part, _ in waited[3:]] == [stuck, other, last]
    times = [timeout_s for _, timeout_s in waited[3:]]
    assert 0 < times[0] <= SOON_S
    assert times[1:] == pytest.approx([0.0, 0.0], abs=SOON_S / 10)  # the first one took it all
    assert close_all([other.close], timeout_s=SOON_S)


def test_a_pool_that_is_at_work_is_waited_for_no_longer_than_that():
    gate, pool = threading.Event(), ThreadPoolExecutor(1)
    pool.submit(gate.wait, LIMIT_S)
    pool.shutdown(wait=False)
    assert not ended(pool, timeout_s=0.0)
    gate.set()
    assert ended(pool, timeout_s=LIMIT_S)


@pytest.fixture
def application(tmp_path, ui):
    return Application(tmp_path, platform=find_platform("linux"), hand_over=ui.hand_over)


def test_parts_that_are_stuck_keep_no_other_from_ending(application):
    gate = threading.Event()
    began = [threading.Event() for _ in range(3)]

    def job(begun):
        begun.set()
        gate.wait(LIMIT_S)

    stuck = (application.settings, application.report, application.offloading)
    for page, begun in zip(stuck, began, strict=True):
        page._thread.submit(job, begun)
        assert begun.wait(LIMIT_S)
    assert not application.close(timeout_s=SOON_S)
    application.live._pipeline._thread.join(LIMIT_S)  # it was told, although others are at work
    assert not application.live._pipeline._thread.is_alive()
    gate.set()
    assert application.close(timeout_s=LIMIT_S)

"""What admission learns of waits; the rest of it is tested through the scheduler."""

import time

import pytest

from companion_server.admission import Admission
from companion_server.conditions import Shed
from companion_server.costs import BatchCosts
from companion_server.jobs import WHOLE, Job
from companion_server.waiting import HeldBundle, QueueLimits


class Executor:
    """As much of an executor as admission looks at: its running batch takes `ms` more."""

    bundles = frozenset(["b"])

    def __init__(self, ms):
        self.ms = ms

    def left_ms(self):
        return self.ms


@pytest.fixture
def admission():
    held = HeldBundle(None)  # type: ignore[arg-type]  # whose files are not asked for
    held.costs = BatchCosts({WHOLE: {1: 10.0}}, [WHOLE])
    return Admission(QueueLimits(), {"b": held}, [Executor(100.0)])  # type: ignore[list-item]


def check(admission, left_ms):
    now = time.monotonic()
    job = Job("b", WHOLE, (), "a", now + left_ms / 1e3)
    return admission.check(Sized(job), now=now, queued_bytes=0)


class Sized:
    """A job of one sample, without arrays."""

    samples, nbytes = 1, 4

    def __init__(self, job):
        self._job = job

    def __getattr__(self, name):
        return getattr(self._job, name)


def test_waits_that_come_true_leave_no_more_room_than_they_need(admission):
    for _ in range(200):
        admission.learn(100.0, 100.0)
    assert check(admission, 125) == 100.0
    with pytest.raises(Shed):
        check(admission, 112)  # 100 + 10 + what the reply takes


def test_waits_that_take_longer_than_predicted_let_fewer_in(admission):
    for _ in range(200):
        admission.learn(100.0, 150.0)
    with pytest.raises(Shed) as caught:
        check(admission, 140)
    assert caught.value.retry_after_s == pytest.approx(0.03, abs=0.01)
    assert check(admission, 180) == 100.0


def test_waits_that_vary_leave_more_room(admission):
    for number in range(400):
        admission.learn(100.0, 50.0 if number % 2 else 150.0)
    with pytest.raises(Shed):
        check(admission, 200)


def test_short_waits_and_outliers_teach_little(admission):
    admission.learn(0.1, 1000.0)
    assert check(admission, 125) == 100.0
    admission.learn(100.0, 1e9)
    assert admission._ratio < 1.5

"""The circuit breaker, with a clock and a die of the test's own."""

import pytest

from headtail.errors import UsageFault
from headtail.offload.breaker import Breaker, State


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def in_state(breaker, state):
    return breaker.state is state


def breaker_of(clock, *, drawn=0.0):
    return Breaker(base_s=0.25, limit_s=4.0, clock=clock, draw=lambda: drawn)


def test_closed_until_a_failure(clock):
    breaker = breaker_of(clock)
    assert in_state(breaker, State.CLOSED)
    breaker.succeeded()
    assert (breaker.state, breaker.wait_s, breaker.probe_due) == (State.CLOSED, 0.0, False)
    breaker.failed()
    assert in_state(breaker, State.OPEN)
    assert not breaker.probe_due


def test_a_probe_is_due_when_the_backoff_has_passed(clock):
    breaker = breaker_of(clock)
    breaker.failed()
    assert breaker.wait_s == 0.25
    clock.now += 0.2
    assert breaker.wait_s == pytest.approx(0.05)
    clock.now += 0.05
    assert breaker.probe_due
    breaker.probe()
    assert in_state(breaker, State.HALF_OPEN)
    assert not breaker.probe_due
    breaker.succeeded()
    assert in_state(breaker, State.CLOSED)


def test_backoff_doubles_up_to_its_limit_and_starts_again_after_a_success(clock):
    breaker = breaker_of(clock)
    waits = []
    for _ in range(7):
        breaker.failed()
        waits.append(breaker.wait_s)
        clock.now += breaker.wait_s
        breaker.probe()
    assert waits == [0.25, 0.5, 1, 2, 4, 4, 4]
    breaker.succeeded()
    breaker.failed()
    assert breaker.wait_s == 0.25


def test_a_thousand_failures_do_not_overflow(clock):
    breaker = breaker_of(clock)
    for _ in range(2000):
        breaker.failed()
        clock.now += breaker.wait_s
        breaker.probe()
    breaker.failed()
    assert breaker.wait_s == pytest.approx(4.0)


@pytest.mark.parametrize(("drawn", "wait"), [(0.0, 0.25), (0.5, 0.1875), (0.999999, 0.125)])
def test_jitter_takes_up_to_a_half_away(clock, drawn, wait):
    breaker = breaker_of(clock, drawn=drawn)
    breaker.failed()
    assert breaker.wait_s == pytest.approx(wait, abs=1e-6)


def test_what_the_server_asked_for_is_waited_at_least(clock):
    breaker = breaker_of(clock)
    breaker.failed(at_least_s=7)
    assert breaker.wait_s == 7


@pytest.mark.parametrize(
    ("before", "move", "words"),
    [
        ([], "probe", "closed was told of a probe.*success, failure"),
        (["failed"], "succeeded", "open was told of a success.*: probe"),
        (["failed"], "failed", "open was told of a failure"),
        (["failed", "probe"], "probe", "half open was told of a probe"),
    ],
)
def test_moves_that_cannot_be(clock, before, move, words):
    breaker = breaker_of(clock)
    for step in before:
        getattr(breaker, step)()
    with pytest.raises(UsageFault, match=words):
        getattr(breaker, move)()

"""The token bucket, held against the simplest one that can be written."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from companion_server.security.rate import RateLimiter
from headtail.errors import UsageFault
from tests.companion_server.security.conftest import Clock


def test_a_burst_then_the_rate():
    rate = RateLimiter(10.0, burst=3, clock=Clock(0.0))
    assert [rate.take("a") for _ in range(3)] == [0.0] * 3
    assert rate.take("a") == pytest.approx(0.1)
    assert rate.take("a") == pytest.approx(0.1)  # a refusal takes nothing
    assert rate.take("b") == 0.0


@settings(deadline=None, max_examples=100)
@given(
    rate=st.integers(1, 50),
    burst=st.integers(1, 10),
    pauses_ms=st.lists(st.integers(0, 500), min_size=1, max_size=60),
)
def test_it_is_a_token_bucket(rate, burst, pauses_ms):
    clock = Clock(0.0)
    limiter = RateLimiter(rate, burst=burst, clock=clock)
    tokens = float(burst)
    for pause in pauses_ms:
        clock.now += pause / 1e3
        tokens = min(burst, tokens + pause / 1e3 * rate)
        if abs(tokens - 1) < 1e-9:
            return  # which side of the edge is the rounding's business
        wait_s = limiter.take("a")
        assert (wait_s == 0.0) == (tokens > 1)
        if wait_s:
            assert wait_s == pytest.approx((1 - tokens) / rate, abs=1e-6)
        else:
            tokens -= 1


@settings(deadline=None, max_examples=100)
@given(rate=st.floats(0.01, 1e4), burst=st.integers(1, 20), taken=st.integers(0, 60))
def test_the_wait_is_honest(rate, burst, taken):
    clock = Clock(0.0)
    limiter = RateLimiter(rate, burst=burst, clock=clock)
    for _ in range(taken):
        limiter.take("a")
    clock.now += limiter.take("a") * (1 + 1e-9) + 1e-9
    assert limiter.take("a") == 0.0 or taken < burst


def test_memory_is_bounded(clock):
    limiter = RateLimiter(1.0, burst=1, max_buckets=100, clock=clock)
    limiter.take("first")
    for i in range(1000):
        limiter.take(f"{i}")
    assert len(limiter) == 100
    assert limiter.take("first") == 0.0  # forgotten
    assert limiter.take("999") > 0.0  # not forgotten


@pytest.mark.parametrize(("rate", "burst"), [(0.0, 1), (-1.0, 1), (float("nan"), 1), (1.0, 0)])
def test_rates_that_cannot_be(rate, burst):
    with pytest.raises(UsageFault):
        RateLimiter(rate, burst=burst)

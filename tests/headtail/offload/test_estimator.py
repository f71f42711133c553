"""The link's figures, from simulated links of which the truth is known."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.offload.estimator import LinkEstimator


class Link:
    """A link of known figures and a clock that only its messages move."""

    def __init__(self, *, rtt_ms=20.0, mbit_s=10.0, jitter=0.0, seed=0):
        self.rtt_ms, self.mbit_s, self.jitter = rtt_ms, mbit_s, jitter
        self.now_s = 100.0
        self.estimator = LinkEstimator(clock=lambda: self.now_s)
        self._random = random.Random(seed)

    def ms(self, size):
        late = 1 + self.jitter * self._random.random()
        return (self.rtt_ms + size * 8 / (self.mbit_s * 1e3)) * late

    def ping(self):
        ms = self.ms(1500)
        self.now_s += ms / 1e3
        self.estimator.ponged(1200, 300, ms)

    def send(self, up, down=300, *, server_ms=0.0, pause_s=0.03):
        ms = self.ms(up + down) + server_ms
        self.now_s += ms / 1e3
        self.estimator.carried(up, down, ms, server_ms=server_ms)
        self.now_s += pause_s

    def told(self):
        return self.estimator.estimate()

    def predicted_ms(self, size):
        told = self.told()
        return (told.rtt_ms or 0.0) + size * 8 / (told.uplink_mbit_s * 1e3)


rates = st.floats(0.05, 100)
rtts = st.floats(0.5, 300)


def test_nothing_is_known_at_first():
    told = Link().told()
    assert set(vars(told).values()) == {None}


@settings(deadline=None, max_examples=200)
@given(rtt_ms=rtts, mbit_s=rates, size=st.integers(4_000, 200_000))
def test_a_steady_link_is_found_exactly(rtt_ms, mbit_s, size):
    link = Link(rtt_ms=rtt_ms, mbit_s=mbit_s)
    link.ping()
    link.send(size, server_ms=7.0)
    assert link.told().uplink_mbit_s == pytest.approx(mbit_s, rel=1e-6)
    assert link.told().rtt_ms == pytest.approx(rtt_ms, rel=1e-6, abs=1e-6)


@settings(deadline=None, max_examples=100)
@given(mbit_s=rates, seed=st.integers(0, 1000), size=st.integers(8_000, 100_000))
def test_jitter_costs_accuracy_and_no_more(mbit_s, seed, size):
    link = Link(mbit_s=mbit_s, jitter=0.2, seed=seed)
    for _ in range(5):
        link.ping()
    for _ in range(5):
        link.send(size)
    assert link.predicted_ms(size) == pytest.approx(link.ms(size), rel=0.3)


@settings(deadline=None, max_examples=200)
@given(before=rates, after=rates, rtt_ms=rtts, size=st.integers(4_000, 60_000))
def test_a_change_is_learnt_within_three_messages(before, after, rtt_ms, size):
    link = Link(rtt_ms=rtt_ms, mbit_s=before)
    for _ in range(3):
        link.ping()
    for _ in range(20):
        link.send(size)
    link.mbit_s = after
    for _ in range(3):
        link.send(size)
    assert link.predicted_ms(size + 300) == pytest.approx(link.ms(size + 300), rel=0.05)


def test_one_odd_message_changes_nothing():
    link = Link()
    link.ping()
    for _ in range(5):
        link.send(8000)
    before = link.told().uplink_mbit_s
    link.estimator.carried(8000, 300, 5000.0)
    assert link.told().uplink_mbit_s == pytest.approx(before)


def test_waiting_in_vain_says_how_slow_the_link_is_at_best():
    link = Link()
    link.ping()
    link.send(8000)
    link.estimator.waiting(8000, 340.0)  # at 0.1 Mbit/s it will take 664 ms
    assert link.told().uplink_mbit_s == pytest.approx(8000 * 8 / 320 / 1e3)
    link.send(8000)
    assert link.told().uplink_mbit_s == pytest.approx(10), "a message that came through counts more"


def test_waiting_a_usual_time_says_nothing():
    link = Link()
    link.ping()
    link.send(8000)
    link.estimator.waiting(8000, 15.0)
    assert link.told().uplink_mbit_s == pytest.approx(10)


def test_a_ping_alone_tells_that_the_link_became_slow():
    link = Link()
    link.ping()
    link.send(8000)
    link.mbit_s = 0.1
    link.ping()
    assert link.told().uplink_mbit_s == pytest.approx(0.1, rel=0.01)


def test_one_odd_ping_is_forgotten_with_the_next():
    link = Link()
    link.ping()
    link.send(8000)
    link.estimator.ponged(1200, 300, 250.0)  # the radio slept
    assert link.told().uplink_mbit_s < 0.1
    link.ping()
    assert link.told().uplink_mbit_s == pytest.approx(10)


def test_a_ping_alone_tells_that_the_link_is_not_as_slow_as_it_was():
    link = Link(rtt_ms=5.0, mbit_s=0.1)
    link.ping()
    link.send(8000)
    link.mbit_s = 10.0
    link.ping()
    assert link.told().uplink_mbit_s > 1.0
    assert link.told().rate_age_s is None, "no more than a bound is known"
    link.send(8000)
    assert link.told().uplink_mbit_s == pytest.approx(10.0, rel=0.01), "what was known is forgotten"


@settings(deadline=None, max_examples=100)
@given(before=rtts, after=rtts)
def test_a_round_trip_that_changed_is_learnt_by_pings(before, after):
    link = Link(rtt_ms=before)
    for _ in range(5):
        link.ping()
    link.rtt_ms = after
    for _ in range(5):
        link.ping()
    for _ in range(3):
        link.send(20_000)
    assert link.told().rtt_ms == pytest.approx(after, rel=0.01, abs=0.1)


@settings(deadline=None, max_examples=100)
@given(rtt_ms=rtts, mbit_s=rates, size=st.integers(300, 3_000))
def test_a_frame_as_small_as_a_ping_is_predicted_rightly(rtt_ms, mbit_s, size):
    link = Link(rtt_ms=rtt_ms, mbit_s=mbit_s)
    link.ping()
    link.send(size, 0)
    assert link.predicted_ms(size) == pytest.approx(link.ms(size), rel=0.01)


def test_figures_age_out():
    link = Link()
    link.ping()
    link.send(8000)
    link.now_s += 10
    assert link.told().rate_age_s == pytest.approx(10, abs=0.1)
    link.now_s += 11
    assert link.told().uplink_mbit_s is None
    assert link.told().rtt_ms is not None
    link.now_s += 40
    assert set(vars(link.told()).values()) == {None}


def test_slow_start_is_not_taken_for_a_slow_link():
    link = Link(rtt_ms=100.0, mbit_s=50.0)
    link.ping()
    link.now_s += 5  # TCP forgets how much it may send at once
    size = 60_000
    link.now_s += 0.3 + size * 8 / 50e6  # 60 kB leave in three flights: 15, 29, 15
    link.estimator.carried(size, 300, 300 + size * 8 / 50e3)
    assert link.told().uplink_mbit_s == pytest.approx(50, rel=0.1)


def test_up_and_down_are_told_apart_where_both_were_seen():
    now = [0.0]
    estimator = LinkEstimator(clock=lambda: now[0])

    def carry(up, down):
        ms = 10 + up * 8 / 1e3 + down * 8 / 20e3  # 1 Mbit/s up, 20 down
        now[0] += ms / 1e3
        estimator.carried(up, down, ms)

    estimator.ponged(200, 100, 10 + 1.64)
    for _ in range(3):
        carry(50_000, 500)
        carry(2_000, 200_000)
    told = estimator.estimate()
    assert told.uplink_mbit_s == pytest.approx(1, rel=0.1)
    assert told.downlink_mbit_s == pytest.approx(20, rel=0.2)


messages = st.tuples(
    st.sampled_from(["carried", "ponged", "waiting"]),
    st.integers(0, 1 << 26),
    st.integers(0, 1 << 26),
    st.floats(0, 1e7),
    st.floats(0, 1e7),
    st.floats(0, 100),
)


@settings(deadline=None, max_examples=200)
@given(st.lists(messages, max_size=30))
def test_whatever_is_measured_the_figures_are_figures(seen):
    now = [0.0]
    estimator = LinkEstimator(clock=lambda: now[0])
    for kind, up, down, ms, server_ms, pause_s in seen:
        now[0] += pause_s
        if kind == "carried":
            estimator.carried(up, down, ms, server_ms=server_ms)
        elif kind == "ponged":
            estimator.ponged(up, down, ms)
        else:
            estimator.waiting(up, ms, server_ms=server_ms)
        told = estimator.estimate()
        assert told.rtt_ms is None or 0 <= told.rtt_ms < math.inf
        for rate in (told.uplink_mbit_s, told.downlink_mbit_s):
            assert rate is None or 0 < rate <= 1001
        for age_s in (told.rtt_age_s, told.rate_age_s):
            assert age_s is None or age_s >= 0

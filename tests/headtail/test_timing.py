import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.errors import UnknownName, UsageFault
from headtail.timing import TIMING_KINDS, Timing, measure, summarize


class Ticker:
    """A clock that the thing under measurement winds on by itself."""

    def __init__(self, *durations_ms):
        self.now_ns = 0
        self.durations_ms = list(durations_ms)

    def __call__(self):
        return self.now_ns

    def run(self):
        self.now_ns += int(self.durations_ms.pop(0) * 1e6)


def test_warm_up_is_run_but_not_counted():
    ticker = Ticker(1000, 1000, 5, 7, 6)
    timing = measure(ticker.run, warmup=2, runs=3, clock_ns=ticker)
    assert timing == Timing("host", 3, 2, 6.0, 7.0, 7.0, 6.0, 5.0)
    assert ticker.durations_ms == []


def test_percentiles_are_nearest_rank_and_the_mean_is_of_the_middle_80_percent():
    samples = [float(i) for i in range(1, 101)]
    timing = summarize(samples[::-1], kind="device", warmup=0)
    assert (timing.p50_ms, timing.p90_ms, timing.p99_ms) == (50, 90, 99)
    assert timing.trimmed_mean_ms == 50.5  # of 11 .. 90
    ten = summarize([1, 2, 3, 4, 5, 6, 7, 8, 9, 1000], kind="host", warmup=0)
    assert ten.trimmed_mean_ms == 5.5  # one dropped at each end
    assert (ten.p50_ms, ten.p90_ms, ten.p99_ms, ten.min_ms) == (5, 9, 1000, 1)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60))
def test_figures_are_ordered_and_percentiles_were_measured(samples):
    timing = summarize(samples, kind="host", warmup=0)
    assert timing.min_ms <= timing.p50_ms <= timing.p90_ms <= timing.p99_ms <= max(samples)
    assert {timing.p50_ms, timing.p90_ms, timing.p99_ms} <= set(samples)
    assert timing.runs == len(samples)


def test_what_cannot_be_summarized_is_refused():
    for samples in ([], [math.nan], [1.0, math.inf], [-1.0]):
        with pytest.raises(UsageFault, match="latency samples"):
            summarize(samples, kind="host", warmup=0)
    with pytest.raises(UnknownName, match=r"(?s)'phone'.*device, emulated, host"):
        summarize([1.0], kind="phone", warmup=0)
    for warmup, runs in ((-1, 1), (0, 0)):
        with pytest.raises(UsageFault, match="timed runs"):
            measure(lambda: None, warmup=warmup, runs=runs)


def test_errors_of_the_measured_call_come_through():
    with pytest.raises(ZeroDivisionError):
        measure(lambda: 1 // 0)


def test_the_real_clock_is_monotonic():
    timing = measure(lambda: sum(range(1000)), warmup=1, runs=5)
    assert 0 < timing.min_ms <= timing.p50_ms
    assert timing.kind in TIMING_KINDS


def test_what_comes_before_a_run_is_not_in_its_time():
    now, order = [0], []

    def before():
        order.append("before")
        now[0] += 50_000_000

    def run():
        order.append("run")
        now[0] += 2_000_000

    timing = measure(run, warmup=1, runs=3, before=before, clock_ns=lambda: now[0])
    assert (timing.p50_ms, timing.p99_ms) == (2.0, 2.0)
    assert order == ["before", "run"] * 4

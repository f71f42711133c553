import pytest

from app.live.readings import WINDOW, Counts, Meter


def test_percentiles_are_nearest_rank_over_the_newest():
    meter = Meter()
    for i in range(500):
        meter.add(1000.0, at_s=i * 0.01)
    for i in range(WINDOW):
        meter.add(float(i + 1), at_s=5 + i * 0.01)
    readings = meter.read(Counts(handed=7))
    assert (readings.n, readings.p50_ms, readings.p95_ms) == (120, 60.0, 114.0)
    assert readings.counts.handed == 7


def test_the_rate_is_that_of_the_last_seconds():
    meter = Meter()
    for i in range(100):
        meter.add(1.0, at_s=i * 1.0)  # long ago, one per second
    for i in range(61):
        meter.add(1.0, at_s=200 + i * 0.05)
    assert meter.read(Counts()).fps == pytest.approx(20.0)


def test_one_answer_is_no_rate_and_none_is_nothing():
    meter = Meter()
    assert meter.read(Counts()).n == 0
    meter.add(3.0, at_s=1.0)
    assert meter.read(Counts()).fps is None
    assert meter.read(Counts()).p50_ms == 3.0
    meter.clear()
    assert meter.read(Counts()).n == 0

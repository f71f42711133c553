import pytest
from hypothesis import given
from hypothesis import strategies as st

from companion_server.costs import BatchCosts

ORDER = ["", "c1", "c2"]
TABLE = {"": {1: 10.0, 4: 20.0}, "c1": {1: 6.0, 4: 12.0}, "c2": {1: 2.0, 4: 4.0}}


@pytest.fixture
def costs():
    return BatchCosts(TABLE, ORDER)


def test_what_was_measured_is_predicted(costs):
    for cut, times in TABLE.items():
        for samples, ms in times.items():
            assert costs.of({cut: samples}) == ms


def test_between_and_beyond(costs):
    assert costs.of({"": 2}) == pytest.approx(10 + 10 / 3)
    assert costs.of({"": 8}) == pytest.approx(40.0)


def test_cuts_together_cost_their_stretches(costs):
    # one sample alone to c1, then both to the end
    assert costs.of({"": 1, "c1": 1}) == pytest.approx(10 - 6 + costs.of({"c1": 2}))
    # three cuts: 1 to c1, 2 to c2, 4 to the end
    together = (10 - 6) + (costs.of({"c1": 2}) - costs.of({"c2": 2})) + 4
    assert costs.of({"c2": 2, "": 1, "c1": 1}) == pytest.approx(together)


@given(st.dictionaries(st.sampled_from(ORDER), st.integers(1, 12), min_size=1))
def test_together_is_never_dearer_than_apart(samples):
    costs = BatchCosts(TABLE, ORDER)
    apart = sum(costs.of({cut: count}) for cut, count in samples.items())
    assert 0 < costs.of(samples) <= apart + 1e-9


def test_the_best_batch_is_what_a_sample_costs(costs):
    assert costs.each("", most=1) == 10.0
    assert costs.each("", most=4) == 5.0


def test_the_best_batch_is_looked_for_beyond_a_bad_one():
    # one row is another kernel than several: two together cost more than two alone, eight pay
    costs = BatchCosts({"": {1: 2.0, 2: 4.4, 4: 4.6, 8: 5.0, 16: 6.6}}, [""])
    assert costs.best("", most=2) == 1
    assert costs.best("", most=8) == 8
    assert costs.best("", most=16) == 16
    assert BatchCosts({"": {1: 1.0, 16: 16.0}}, [""]).best("", most=16) == 1
    assert costs.best("", most=1) == 1


def test_a_slower_machine_is_learned_and_an_outlier_is_not_believed(costs):
    for _ in range(60):
        costs.learn({"": 1}, 30.0)
    assert costs.of({"c2": 1}) == pytest.approx(6.0, rel=0.02)
    costs.learn({"": 1}, 1e9)
    assert costs.of({"c2": 1}) < 10.0


def test_a_cut_without_figures_costs_as_the_one_before_it():
    costs = BatchCosts({"": {1: 10.0}}, ORDER)
    assert costs.of({"c2": 1}) == 10.0
    assert BatchCosts({}, ORDER).of({"c1": 3}) == 0.0

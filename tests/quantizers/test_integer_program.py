import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantizers.integer_program import choose


def best(groups, cost, limits):
    """By trying everything: the least cost, or None."""
    members = [np.flatnonzero(np.asarray(groups) == g).tolist() for g in sorted(set(groups))]
    costs = [
        cost[list(picked)].sum()
        for picked in itertools.product(*members)
        if all(row[list(picked)].sum() <= most for row, most in limits)
    ]
    return min(costs) if costs else None


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 4), st.floats(0.2, 0.8))
def test_the_choice_is_the_best_there_is(seed, groups, options, tightness):
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(groups), options).tolist()
    cost = 10.0 ** rng.uniform(-9, 0, len(of))  # damages lie as far apart as that
    sizes = rng.integers(1, 10**6, len(of)).astype(np.float64)
    times = rng.uniform(0.1, 2.0, len(of))
    limits = [
        (sizes, float(int(tightness * sizes.sum() / options))),
        (times, tightness * 1.5 * times.sum() / options),
    ]
    least, picked = best(of, cost, limits), choose(of, cost, limits)
    assert (picked is None) == (least is None)
    if picked is not None:
        assert [of[i] for i in picked] == list(range(groups))
        assert cost[picked].sum() == pytest.approx(least, rel=2e-6)
        assert sizes[picked].sum() <= limits[0][1]
        assert times[picked].sum() <= limits[1][1] + 1e-6


def test_one_huge_cost_does_not_hide_the_small_ones():
    cost = np.array([1e-9, 3e-9, 1e3, 2e-9, 5e-9, 1e3])
    sizes = np.array([2.0, 1.0, 0.0, 2.0, 1.0, 0.0])
    assert choose([0, 0, 0, 1, 1, 1], cost, [(sizes, 3.0)]) == [1, 3]


def test_a_cost_of_nothing_is_an_answer():
    assert choose([0, 0], np.array([0.0, 1.0]), []) == [0]


def test_limits_that_exclude_each_other_have_no_answer():
    rows = [(np.array([1.0, 2.0]), 1.0), (np.array([2.0, 1.0]), 1.0)]
    assert choose([0, 0], np.ones(2), rows) is None


def test_the_solver_is_silent(capfd):
    for seed in (7, 17, 47, 52, 121):  # HiGHS 1.12 prints for each of these
        rng = np.random.default_rng(seed)
        bits = np.tile([16, 8, 6, 4], 30)
        sizes = np.repeat(rng.integers(200, 50_000, 30), 4) * bits / 8
        cost = np.repeat(10.0 ** rng.uniform(-7, -3, 30), 4) * 4.0 ** (8 - bits)
        cost *= rng.uniform(0.5, 2, 120)
        groups = np.repeat(np.arange(30), 4).tolist()
        assert choose(groups, cost, [(sizes, float(int(0.33 * sizes[::4].sum())))])
    assert capfd.readouterr() == ("", "")

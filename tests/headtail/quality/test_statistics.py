"""Intervals against published examples and against what they promise: coverage."""

import math

import numpy as np
import pytest

from headtail.errors import UsageFault
from headtail.quality.statistics import (
    bootstrap_mean,
    calibration_error,
    kl_divergence,
    mcnemar_p_value,
    paired_difference,
    share,
)


def pairs(both, lost, won, neither):
    reference = np.repeat([True, True, False, False], [both, lost, won, neither])
    return reference, np.repeat([True, False, True, False], [both, lost, won, neither])


def test_paired_difference_of_a_published_table():
    """Airway hyper-responsiveness of 21 patients: Fagerland, Lydersen and Laake (2014), table V,
    https://doi.org/10.1002/sim.6148, give -0.507 to -0.026 for Newcombe's interval."""
    found = paired_difference(*pairs(1, 1, 7, 12))
    assert found.value == pytest.approx(-6 / 21)
    assert (round(found.low, 3), round(found.high, 3)) == (-0.507, -0.026)
    assert mcnemar_p_value(1, 7) == 18 / 256  # 2 (1 + 8) / 2^8


def test_pairing_makes_the_interval_narrower():
    """With the pairs torn apart the same shares say much less."""
    reference, candidate = pairs(900, 12, 8, 80)
    paired = paired_difference(reference, candidate)
    apart = paired_difference(reference, np.random.default_rng(0).permutation(candidate))
    assert paired.value == apart.value == 0.004
    assert paired.high - paired.low < 0.7 * (apart.high - apart.low)


@pytest.mark.parametrize("counts", [(5, 0, 0, 0), (0, 0, 0, 5), (0, 5, 0, 0), (3, 0, 0, 2)])
def test_degenerate_tables_have_an_interval_around_their_value(counts):
    found = paired_difference(*pairs(*counts))
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high


def test_mcnemar_of_no_discordant_pairs_is_certain_of_nothing():
    assert mcnemar_p_value(0, 0) == mcnemar_p_value(4, 4) == 1.0
    assert mcnemar_p_value(0, 10) == 2 / 2**10
    assert mcnemar_p_value(3000, 3200) == pytest.approx(0.0116, abs=3e-4)  # normal: z = 200 / 78.7


def test_the_bootstrap_covers_as_often_as_it_says():
    """Of skewed values, 95 % intervals hold the true mean about 95 % of the time."""
    generator = np.random.default_rng(1)
    held = 0
    for seed in range(200):
        found = bootstrap_mean(generator.exponential(3.0, 80), resamples=400, seed=seed)
        held += found.low <= 3.0 <= found.high
    assert 0.89 <= held / 200 <= 0.99


def test_the_bootstrap_is_seeded_and_cut_into_pieces():
    values = np.random.default_rng(2).normal(size=5000)
    found = bootstrap_mean(values, resamples=1000, seed=3)
    assert found == bootstrap_mean(values, resamples=1000, seed=3)
    assert found != bootstrap_mean(values, resamples=1000, seed=4)
    half = 1.96 * values.std() / math.sqrt(5000)
    assert found.high - found.value == pytest.approx(half, rel=0.1)
    assert found.value - found.low == pytest.approx(half, rel=0.1)


def test_one_value_knows_nothing_of_its_spread():
    found = bootstrap_mean(np.array([7.0]), resamples=10, seed=0)
    assert (found.low, found.value, found.high) == (7, 7, 7)


@pytest.mark.parametrize("values", [[], [1.0, math.inf], [math.nan]])
def test_the_bootstrap_refuses_what_has_no_mean(values):
    with pytest.raises(UsageFault, match="finite_db"):
        bootstrap_mean(np.array(values), resamples=10, seed=0)


def test_kl_divergence_is_zero_for_shifted_logits_and_right_for_known_ones():
    logits = np.random.default_rng(0).normal(size=(6, 9))
    assert kl_divergence(reference=logits, candidate=logits + 100).max() < 1e-12
    half, quarter = np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]])
    expected = 0.5 * math.log(2) + 0.5 * math.log(0.5 / 0.75)
    assert kl_divergence(reference=half, candidate=quarter) == pytest.approx(expected)
    far = kl_divergence(reference=np.array([[0.0, 900.0]]), candidate=np.array([[900.0, 0.0]]))
    assert far == pytest.approx(900)


def test_calibration_error_of_a_worked_example():
    """Two bins: 4 answers at .9 of which 3 are right, 2 at .3 of which none is."""
    sure = np.array([0.9, 0.9, 0.9, 0.9, 0.3, 0.3])
    right = np.array([1, 1, 1, 0, 0, 0])
    assert calibration_error(sure, right, bins=2) == pytest.approx((4 * 0.15 + 2 * 0.3) / 6)
    assert calibration_error(np.ones(3), np.ones(3), bins=15) == 0


def test_share_is_wilson_s():
    assert share(60, 60).low == pytest.approx(0.9398, abs=1e-4)

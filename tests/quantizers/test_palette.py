"""The optimum is the optimum: compared with every division there is, and with k-means++."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.errors import UsageFault
from quantizers.palette import fit_palette, fit_scaled_palette


def error(values, table, importance=None):
    """Weighted squared distance to the nearest entry of one table."""
    distance = np.abs(values.reshape(-1, 1).astype(np.float64) - table.reshape(1, -1)).min(1)
    return float((distance**2 * (1 if importance is None else importance.reshape(-1))).sum())


def by_trying_all(values, weights, entries):
    """Least weighted error of all divisions of the sorted values into intervals."""
    order = np.argsort(values)
    values, weights = values[order].astype(np.float64), weights[order]
    least = np.inf
    for cuts in itertools.combinations(range(1, len(values)), entries - 1):
        edges = [0, *cuts, len(values)]
        total = 0.0
        for start, stop in itertools.pairwise(edges):
            part, worth = values[start:stop], weights[start:stop]
            mean = (part * worth).sum() / worth.sum()
            total += (worth * (part - mean) ** 2).sum()
        least = min(least, total)
    return least


@given(
    st.lists(st.floats(-8, 8, width=16), min_size=5, max_size=9),
    st.randoms(use_true_random=False),
)
@settings(deadline=None, max_examples=60)
def test_no_division_is_better(values, random):
    array = np.array([values], np.float32)
    weights = np.array([random.uniform(0.1, 5) for _ in values])
    table = fit_palette(array, 2, importance=weights[None])
    distinct = len(set(values))
    expected = by_trying_all(array[0], weights, min(4, len(values))) if distinct > 4 else 0.0
    assert error(array, table, weights) == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_it_is_at_least_as_good_as_k_means_with_restarts():
    from sklearn.cluster import KMeans

    values = np.random.default_rng(0).standard_t(4, 3000).astype(np.float32)
    for bits in (3, 4):
        table = fit_palette(values[None], bits)
        others = KMeans(1 << bits, n_init=8, random_state=0).fit(values[:, None])
        assert error(values, table) <= others.inertia_ * 1.0005


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_binning_and_far_values_cost_next_to_nothing(bits):
    """On a line of evenly spread values the best error is known: spacing^2 / 12 per value."""
    count = 1 << 16
    values = np.linspace(-1, 1, count).astype(np.float32)
    spread = fit_palette(values[None], bits)
    best = count * (2 / (1 << bits)) ** 2 / 12
    assert error(values, spread) <= 1.01 * best
    far = np.concatenate([values, [50.0]]).astype(np.float32)  # one entry for it, one less for us
    best = count * (2 / ((1 << bits) - 1)) ** 2 / 12
    assert error(far, fit_palette(far[None], bits)) <= 1.01 * best


def test_even_steps_are_worse():
    """What switching the fit off costs: uniform levels over the same normal weights."""
    values = np.random.default_rng(1).standard_normal(20_000).astype(np.float32)
    even = np.linspace(values.min(), values.max(), 16)
    assert error(values, fit_palette(values[None], 4)) < 0.5 * error(values, even)


def test_importance_moves_entries():
    values = np.array([[0.0, 0.1, 0.2, 0.3, 1.0, 1.1]], np.float32)
    heavy = np.array([[1.0, 1.0, 1.0, 1.0, 900.0, 900.0]])
    assert {1.0, 1.1} <= {round(float(v), 6) for v in fit_palette(values, 2, importance=heavy)[0]}


def test_tables_ascend_and_few_values_are_exact():
    weight = np.random.default_rng(2).integers(-3, 4, (32, 8, 3, 3)).astype(np.float32)
    table = fit_palette(weight, 4)
    assert (table[:, :7] == np.arange(-3, 4)).all()
    assert (table[:, 7:] == 3).all()
    assert table.dtype == np.float32


def test_groups_of_channels_have_tables_where_that_is_cheap():
    random = np.random.default_rng(3)
    assert fit_palette(random.normal(size=(64, 512)), 4).shape == (4, 16)  # 4 KiB of indices each
    assert fit_palette(random.normal(size=(64, 64)), 4).shape == (2, 16)  # 1 KiB for 64 bytes
    assert fit_palette(random.normal(size=(40, 512)), 4).shape == (2, 16)  # 20 channels, even parts
    assert fit_palette(random.normal(size=(8, 4096)), 4).shape == (1, 16)
    assert fit_palette(random.normal(size=(24, 1, 3, 3)), 8).shape == (1, 256)


def test_a_group_of_its_own_is_better():
    """Small channels that share a table with large ones hardly have entries of their own."""
    scale = np.repeat([0.1, 1.0], 16)[:, None]
    weight = (np.random.default_rng(4).normal(size=(32, 256)) * scale).astype(np.float32)
    grouped = fit_palette(weight, 4)
    assert len(grouped) == 2
    together = fit_palette(weight.reshape(1, -1), 4)
    assert error(weight[:16], grouped[0]) < 0.1 * error(weight[:16], together)
    assert error(weight[16:], grouped[1]) < error(weight[16:], together)


def test_a_scale_for_each_channel_is_better():
    """Weights of trained layers: a folded batch norm makes channels of very different size."""
    random = np.random.default_rng(5)
    sizes = np.exp(random.normal(0, 1, (32, 1)))
    weight = (random.normal(size=(32, 128)) * sizes).astype(np.float32)
    plain = fit_palette(weight, 4)
    table, scale = fit_scaled_palette(weight, 4)
    assert scale.shape == (32, 1)
    channels = zip(weight, scale, np.repeat(table, 32 // len(table), 0), strict=True)
    scaled = [error(row, entries * size) / (row**2).sum() for row, size, entries in channels]
    rows = zip(weight, np.repeat(plain, 32 // len(plain), 0), strict=True)
    before = [error(row, entries) / (row**2).sum() for row, entries in rows]
    assert np.mean(scaled) < 0.2 * np.mean(before)


def test_a_channel_of_zeros_stays_zero():
    weight = np.random.default_rng(6).normal(size=(4, 9)).astype(np.float32)
    weight[2] = 0
    table, scale = fit_scaled_palette(weight, 4)
    assert scale[2] == 1
    assert np.abs(table).min() == pytest.approx(0, abs=0.05)


def test_what_is_not_a_number_is_refused():
    with pytest.raises(UsageFault, match="not finite"):
        fit_palette(np.array([[1.0, np.nan]], np.float32), 4)

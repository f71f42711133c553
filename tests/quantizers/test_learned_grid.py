"""Grids that gradients can move: the first value is the grid's, the last one is stored exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from quantizers.learned_grid import LearnedGrid
from quantizers.palette import fit_scaled_palette
from quantizers.plan import Grid
from quantizers.recipe import Storage

STORAGES = {"i2": Storage("i2"), "i4": Storage("i4", 4), "lut4": Storage("lut4")}


def made(name):
    """A weight (16, 8, 3, 3), and a grid for it with codes that are often wrong."""
    generator = np.random.default_rng(3)
    weight = generator.normal(size=(16, 8, 3, 3)).astype(np.float32)
    storage = STORAGES[name]
    if storage.palette:
        table, scale = fit_scaled_palette(weight, storage.bits)
        codes = generator.integers(0, 1 << storage.bits, weight.shape).astype(np.uint8)
        return weight, Grid(storage, codes, scale, table)
    top = (1 << storage.bits - 1) - 1
    shape = (16, 8 // storage.block, 1, 1) if storage.block else (16, 1, 1, 1)
    scale = np.full(shape, np.abs(weight).max() / top, np.float32)
    codes = generator.integers(-top, top + 1, weight.shape).astype(np.int8)
    return weight, Grid(storage, codes, scale)


def fitted(name, *, codes):
    """Mean squared distance to the weight after gradients have moved the grid towards it."""
    weight, start = made(name)
    learned = LearnedGrid.of(start, torch.from_numpy(weight), codes=codes)
    rates = ((learned.latent, 0.1), (learned.gain, 0.01), (learned.table, 0.01))
    chosen = [{"params": [leaf], "lr": rate} for leaf, rate in rates if leaf.requires_grad]
    optimizer = torch.optim.Adam(chosen)
    for _ in range(200):
        optimizer.zero_grad()
        (learned.value() - torch.from_numpy(weight)).square().mean().backward()
        optimizer.step()
    stored = learned.grid()
    assert np.array_equal(stored.values(), learned.value().detach().numpy())
    return float(np.square(stored.values() - weight).mean()), stored


@pytest.mark.parametrize("codes", [True, False])
@pytest.mark.parametrize("name", STORAGES)
def test_it_starts_where_the_solver_ended(name, codes):
    weight, start = made(name)
    learned = LearnedGrid.of(start, torch.from_numpy(weight), codes=codes)
    assert np.array_equal(learned.value().detach().numpy(), start.values())
    stored = learned.grid()
    assert np.array_equal(stored.levels, start.levels)
    assert np.array_equal(stored.scale, start.scale)
    assert np.array_equal(stored.table, start.table)


@pytest.mark.parametrize("name", STORAGES)
def test_learned_codes_come_nearer_than_scales_and_tables_alone(name):
    (with_codes, stored), (without, kept) = (fitted(name, codes=codes) for codes in (True, False))
    assert with_codes < 0.4 * without
    top = 1 << stored.storage.bits - 1
    low, high = (0, 2 * top - 1) if stored.storage.palette else (1 - top, top - 1)
    assert low <= stored.levels.min() < stored.levels.max() <= high
    if not stored.storage.palette:
        assert np.array_equal(kept.levels, made(name)[1].levels)


@pytest.mark.parametrize("name", STORAGES)
def test_scales_and_tables_are_learned(name):
    weight, start = made(name)
    before = float(np.square(start.values() - weight).mean())
    after, stored = fitted(name, codes=False)
    assert after < 0.9 * before
    assert (stored.scale > 0).all()
    assert stored.scale.dtype == stored.table.dtype == np.float32
    assert (np.diff(stored.table) >= 0).all()


def test_a_table_whose_entries_cross_is_stored_in_order():
    weight, start = made("lut4")
    learned = LearnedGrid.of(start, torch.from_numpy(weight), codes=False)
    with torch.no_grad():
        learned.table[:, [2, 7]] = learned.table[:, [7, 2]]
    stored = learned.grid()
    assert (np.diff(stored.table) >= 0).all()
    assert np.array_equal(stored.values(), learned.value().detach().numpy())
    assert not np.array_equal(stored.levels, start.levels)

"""A weight is found by its values however it was turned, and its grid is turned with it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from quantizers.coreml_layout import Laid, Layouts
from quantizers.palette import fit_palette
from quantizers.plan import Grid
from quantizers.recipe import Storage

from .plans import near, nearest

RANDOM = np.random.default_rng(0)
STORAGES = [Storage("i8"), Storage("i4"), Storage("i4", 8), Storage("lut4"), None]
NONE = np.zeros((0, 0), np.float32)


def unscaled(weight):
    """A palette without scales."""
    table = fit_palette(weight, 4)
    return Grid(Storage("lut4"), near(weight, table), NONE, table)


def spread(values, shape):
    """One value per block, repeated to `shape`."""
    for axis, size in enumerate(shape):
        values = values.repeat(size // values.shape[axis], axis)
    return values


def unpacked(laid):
    """What the file's operation makes of it."""
    if not laid.storage.palette:
        return (laid.levels * spread(laid.scale, laid.levels.shape)).astype(np.float32)
    if laid.scale.size:
        plain = Laid(laid.storage, laid.levels, NONE, laid.table)
        return unpacked(plain) * spread(laid.scale, laid.levels.shape)
    *groups, entries, one = laid.table.shape
    assert one == 1
    number = spread(np.arange(math.prod(groups)).reshape(groups), laid.levels.shape)
    return laid.table.reshape(-1, entries)[number, laid.levels]


@pytest.mark.parametrize("storage", STORAGES, ids=str)
@pytest.mark.parametrize("shape", [(32, 64), (32, 64, 1, 1), (48, 32, 3, 3), (64, 32, 5), (32, 8)])
def test_every_way_it_can_be_turned(storage, shape):
    weight = RANDOM.normal(size=shape).astype(np.float32)
    grid = nearest(weight, storage) if storage else unscaled(weight)
    for order in itertools.permutations(range(len(shape))):
        turned = grid.values().transpose(order)
        plain = [size for size in turned.shape if size > 1]
        for reshaped in (turned.shape, [*plain, 1], [1, *plain], plain):
            constant = turned.reshape(reshaped)
            layouts = Layouts({"weight": grid})
            laid = layouts.find(constant)
            assert laid is not None
            assert laid.levels.shape == constant.shape
            assert np.array_equal(unpacked(laid), constant)
            assert layouts.missing == []


def test_a_table_of_its_own_for_each_group():
    weight = RANDOM.normal(size=(64, 512, 1, 1)).astype(np.float32)
    grid = unscaled(weight)
    assert len(grid.table) == 4
    laid = Layouts({"weight": grid}).find(grid.values()[:, :, 0, 0].T)
    assert laid is not None
    assert laid.table.shape == (1, 4, 16, 1)


def test_one_output_channel_has_its_scale():
    grid = nearest(RANDOM.normal(size=(1, 24, 3, 3)).astype(np.float32), Storage("i8"))
    laid = Layouts({"weight": grid}).find(grid.values()[0])
    assert laid is not None
    assert laid.scale.shape == (1, 1, 1)


def test_half_precision_is_recognised():
    grid = nearest(RANDOM.normal(size=(16, 8)).astype(np.float32), Storage("i8"))
    assert Layouts({"weight": grid}).find(grid.values().astype(np.float16)) is not None


def test_what_is_not_the_weight_is_not_found():
    weight = RANDOM.normal(size=(16, 8)).astype(np.float32)
    grid = nearest(weight, Storage("i8"))
    layouts = Layouts({"weight": grid, "other": nearest(2 * weight, Storage("i8"))})
    nudged = grid.values()
    nudged[3, 5] = np.nextafter(nudged[3, 5], np.float32(9))
    assert layouts.find(nudged) is None
    assert layouts.find(weight) is None
    assert layouts.find(grid.values()[:8]) is None
    assert layouts.missing == ["weight", "other"]
    assert layouts.find(grid.values()) is not None
    assert layouts.missing == ["other"]


def test_equal_weights_are_found_together():
    grid = nearest(RANDOM.normal(size=(16, 8)).astype(np.float32), Storage("i8"))
    layouts = Layouts({"first": grid, "second": grid})
    layouts.find(grid.values())
    assert layouts.missing == []

"""Grids found among constants that a converter moved, transposed and multiplied."""

from __future__ import annotations

import numpy as np
import pytest

from headtail.errors import UsageFault
from quantizers.litert_match import match
from quantizers.litert_weights import key
from quantizers.plan import Grid
from quantizers.recipe import Storage


def grid(*shape: int, seed: int = 0, dtype: str = "i8") -> Grid:
    """Random levels, and a scale for each place on the first axis."""
    draw = np.random.default_rng(seed)
    top = 2 ** (Storage(dtype).bits - 1) - 1
    scale = draw.uniform(0.01, 0.1, (shape[0], *(1,) * (len(shape) - 1))).astype(np.float32)
    return Grid(Storage(dtype), draw.integers(-top, top + 1, shape).astype(np.int8), scale)


@pytest.mark.parametrize(
    ("shape", "order", "axis"),
    [
        ((8, 5, 3, 3), (0, 2, 3, 1), 0),  # OIHW -> OHWI
        ((8, 1, 3, 3), (1, 2, 3, 0), 3),  # depthwise (C, 1, h, w) -> (1, h, w, C)
        ((8, 5), (0, 1), 0),
        ((8, 5), (1, 0), 1),  # a matrix product with the weight on the right
        ((8, 4, 4, 4), (0, 2, 3, 1), 0),  # sizes alone do not tell the axes apart
    ],
)
def test_a_moved_weight_is_found_with_its_own_integers(shape, order, axis):
    made = grid(*shape)
    held = np.ascontiguousarray(made.values().transpose(order))
    decoy = grid(*shape, seed=1).values().transpose(order)
    found = match({"w": made}, [decoy, held])
    assert list(found.stored) == [key(held)]
    stored = found.stored[key(held)]
    assert np.array_equal(stored.levels, made.levels.transpose(order))
    assert stored.axis == axis
    assert np.array_equal(stored.values(), held)


def test_every_copy_of_a_weight_is_found():
    made = grid(4, 6)
    flat, deep = made.values(), made.values().reshape(4, 1, 1, 6)
    assert set(match({"w": made}, [flat, deep]).stored) == {key(flat), key(deep)}


def test_a_factor_per_output_channel_goes_into_the_scales():
    made = grid(4, 6)
    factor = np.array([[0.5], [3.7], [-2.0], [1.0]], np.float32)  # a trained factor may be negative
    held = np.multiply(made.values(), factor)
    stored = match({"w": made}, [held]).stored[key(held)]
    assert np.array_equal(stored.levels, made.levels * np.sign(factor))
    np.testing.assert_allclose(stored.values(), held, rtol=1e-6)


def test_a_factor_per_input_channel_is_to_be_taken_out():
    made = grid(8, 6)
    factor = np.random.default_rng(5).uniform(0.2, 3, 6).astype(np.float32)
    held = np.multiply(made.values(), factor)
    found = match({"w": made}, [held])
    assert np.array_equal(found.stored[key(held)].values(), made.values())
    np.testing.assert_allclose(found.factors[key(held)], factor, rtol=1e-6)


def test_a_weight_that_is_nowhere_is_named():
    grids = {"here": grid(8, 6), "gone": grid(8, 6, seed=1)}
    held = grids["here"].values()
    with pytest.raises(UsageFault, match=r"1 of 2 quantized weights .* float file: gone\."):
        match(grids, [held, np.add(held, np.float32(0.01))])


def test_one_value_for_each_channel_proves_nothing():
    # any six numbers are six others times a factor for each
    with pytest.raises(UsageFault, match="float file: w"):
        match({"w": grid(6, 1)}, [np.ones((6, 1), np.float32), np.ones((1, 6), np.float32)])

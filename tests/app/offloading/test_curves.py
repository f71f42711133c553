"""The geometry of the plots."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.offloading.curves import axis_end, ribbon

NUMBERS = st.floats(0, 1e9, allow_subnormal=False)


@pytest.mark.parametrize(
    ("values", "end"),
    [
        *[([], 1), ([None], 1), ([0.0], 1)],
        *[([float("nan"), None, 3.0], 3), ([float("inf"), 7.0], 8)],
        *[([9.4, 2], 10), ([41.0], 50), ([0.031], 0.04), ([1000.0], 1000)],
    ],
)
def test_an_axis_ends_at_a_round_number(values, end):
    assert axis_end(values) == pytest.approx(end)


@given(st.lists(st.none() | NUMBERS, max_size=20))
@settings(deadline=None, max_examples=80)
def test_no_value_leaves_the_axis_and_none_is_wasted(values):
    end, most = axis_end(values), max((v for v in values if v is not None), default=0.0)
    assert end >= most * (1 - 1e-9)
    assert end <= max(most * 2, 1.0)


def test_a_step_is_a_quad_of_the_given_thickness():
    vertices, indices = ribbon(np.array([10.0, 20.0]), np.array([5.0, 5.0]), 2.0)
    corners = vertices.reshape(4, 4)[:, :2]
    assert {tuple(corner) for corner in corners} == {(10, 4), (10, 6), (20, 6), (20, 4)}
    assert indices.tolist() == [0, 1, 2, 0, 2, 3]
    assert (vertices.dtype.name, indices.dtype.name) == ("float32", "uint16")


def test_what_nobody_measured_is_a_gap():
    xs, gap = np.arange(6.0), float("nan")
    _, whole = ribbon(xs, np.ones(6), 1.0)
    _, broken = ribbon(xs, np.array([1, 1, gap, 1, gap, 1]), 1.0)
    assert len(whole) == 5 * 6
    assert len(broken) == 1 * 6


@pytest.mark.parametrize("count", [0, 1, 300])
def test_any_number_of_points(count):
    vertices, indices = ribbon(np.arange(float(count)), np.zeros(count), 1.0)
    steps = max(0, count - 1)
    assert (len(vertices), len(indices)) == (steps * 16, steps * 6)
    assert np.isfinite(vertices).all()
    assert not len(indices) or indices.max() == steps * 4 - 1


def test_points_on_top_of_each_other_stay_finite():
    vertices, _ = ribbon(np.zeros(3), np.zeros(3), 1.0)
    assert np.isfinite(vertices).all()

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.report_page.scales import Box, Scale, apart, drawable, place_labels, round_step

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 6))


@pytest.mark.parametrize(
    ("span", "step"), [(1.0, 0.2), (0.5, 0.1), (18.7, 5.0), (19.9, 5.0), (0.07, 0.02), (0.0, 1.0)]
)
def test_steps_are_round(span, step):
    assert round_step(span, 5) == pytest.approx(step)


@settings(max_examples=200, deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=6))
def test_a_scale_holds_its_values_between_round_ends(values):
    scale = Scale.over(values, start=300.0, end=10.0)
    for value in values:
        assert 10 - 1e-6 <= scale(value) <= 300 + 1e-6
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 8
    assert ticks[0][0] == pytest.approx(scale.low)
    assert ticks[-1][0] == pytest.approx(scale.high, abs=scale.step * 1e-6)
    assert len({words for _, words in ticks}) == len(ticks)
    for value, words in ticks:
        assert float(words) == pytest.approx(value, abs=scale.step * 0.01)


def test_a_scale_is_linear_and_zero_can_be_in_it():
    scale = Scale.over([5.0, 18.7], start=0.0, end=200.0, zero=True)
    assert (scale(0), scale(10), scale(20)) == (0, 100, 200)


def test_labels_keep_out_of_each_other_s_way():
    """Of marks in a row, close together but not too close, no label covers a mark or a label."""
    frame = Box(0, 0, 400, 300)
    marks = [(Box(100 + 26 * i, 150.0, 10, 10), "w8") for i in range(6)]
    labels = place_labels(marks, [], frame)
    boxes = [box for box, _ in marks]
    for i, label in enumerate(labels):
        others = [*boxes, *labels[:i], *labels[i + 1 :]]
        assert sum(label.shared(other) for other in others) == 0
        assert label.outside(frame) == 0


def test_a_label_stays_inside_and_off_what_is_taken():
    frame = Box(0, 0, 100, 100)
    [label] = place_labels([(Box(88, 45, 10, 10), "fp32")], [], frame)
    assert label.x + label.width <= 88
    line = Box(0, 49, 88, 2)
    [label] = place_labels([(Box(88, 45, 10, 10), "fp32")], [line], frame)
    assert label.shared(line) == 0


def test_shared_area():
    assert Box(0, 0, 10, 10).shared(Box(5, 8, 10, 10)) == 10
    assert Box(0, 0, 10, 10).shared(Box(20, 0, 1, 1)) == 0
    assert np.isclose(Box(0, 0, 10, 10).outside(Box(5, 0, 100, 100)), 50)


def test_equal_tensors_are_drawn_as_high_as_the_best_other():
    assert drawable([20.0, 400.0, 31.0, -400.0]) == [20.0, 31.0, 31.0, 20.0]
    assert drawable([400.0, 400.0]) == [1.0, 1.0]
    assert drawable([0.5]) == [0.5]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 300), min_size=1, max_size=9))
def test_labels_at_the_ends_of_lines_are_moved_apart(places):
    moved = apart(places, 15)
    assert all(now >= was for now, was in zip(moved, places, strict=True))
    ordered = sorted(moved)
    assert all(b - a >= 15 - 1e-9 for a, b in itertools.pairwise(ordered))
    order = sorted(range(len(places)), key=lambda i: places[i])
    assert [moved[i] for i in order] == ordered
    far = [100.0 * i for i in range(len(places))]
    assert apart(far, 15) == far

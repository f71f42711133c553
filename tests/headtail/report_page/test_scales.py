import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.report_page.scales import LogScale, Scale, drawable, round_step

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


def test_equal_tensors_are_drawn_as_high_as_the_best_other():
    assert drawable([20.0, 400.0, 31.0, -400.0]) == [20.0, 31.0, 31.0, 20.0]
    assert drawable([400.0, 400.0]) == [1.0, 1.0]
    assert drawable([0.5]) == [0.5]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(1e-4, 1e6), min_size=1, max_size=6))
def test_a_logarithmic_scale_keeps_ratios_and_has_round_ticks(values):
    scale = LogScale.over(values, start=10.0, end=300.0)
    for value in values:
        assert 10 < scale(value) < 300
        assert scale(value * 1.1) - scale(value) == pytest.approx(scale(11.0) - scale(10.0))
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 7
    assert len({words for _, words in ticks}) == len(ticks)
    for value, words in ticks:
        assert scale.low * (1 - 1e-9) <= value <= scale.high * (1 + 1e-9)
        assert float(words) == pytest.approx(value, rel=1e-5)
        mantissa = f"{value / 10 ** math.floor(math.log10(value) + 1e-9):.6g}"
        assert len(mantissa) <= 4

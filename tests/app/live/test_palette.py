import numpy as np
import pytest

from app.live.palette import INK, class_colour, painted
from headtail.postprocess import Mask, Segment


def luminance(rgb):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("index", range(0, 256, 5))
def test_a_label_can_be_read_on_every_class(index):
    """4.5 : 1 as WCAG 2.2, success criterion 1.4.3, has it."""
    ground, ink = luminance(class_colour(index)), luminance(INK)
    assert (ground + 0.05) / (ink + 0.05) >= 4.5


def test_neighbours_differ():
    for index in range(30):
        one, other = np.array(class_colour(index)), np.array(class_colour(index + 1))
        assert np.abs(one - other).max() > 0.25


def test_the_background_is_not_painted():
    classes = np.array([[0, 1], [2, 9]], np.uint8)
    segments = (
        Segment("background", 0, 0.3, background=True),
        Segment("cat", 1, 0.3, background=False),
        Segment("dog", 2, 0.3, background=False),
    )  # class 9 is too little to be named
    paint = painted(Mask(classes, segments))
    assert paint.shape == (2, 2, 4)
    assert (paint[..., 3] > 0).tolist() == [[False, True], [True, False]]
    expected = [round(255 * value) for value in class_colour(1)]
    assert paint[0, 1, :3].tolist() == expected

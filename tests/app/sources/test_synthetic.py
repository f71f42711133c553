import numpy as np

from app.sources.synthetic import PERIOD, Pattern, draw_pattern
from tests.app.sources.collecting import Collected


def test_the_pattern_moves_and_is_the_same_everywhere():
    one, other = draw_pattern(3), draw_pattern(40)
    assert one.shape == (480, 640, 3)
    assert (one != other).any(axis=2).mean() > 0.2
    np.testing.assert_array_equal(one, draw_pattern(3))


def test_the_disc_is_inside_the_frame_in_every_frame():
    for number in range(0, PERIOD, 7):
        frame = draw_pattern(number).astype(int)
        colourful = (frame.max(axis=2) - frame.min(axis=2)) > 60
        assert colourful.sum() > 28_000  # the whole disc has 28,900 pixels
        assert not colourful[[0, -1]].any()
        assert not colourful[:, [0, -1]].any()


def test_it_begins_anew_at_every_start():
    source = Pattern(frames_per_s=500)
    for _ in range(2):
        collected = Collected(source)
        frames = [collected.frame() for _ in range(3)]
        assert [frame.number for frame in frames] == [0, 1, 2]
        np.testing.assert_array_equal(frames[2].pixels, draw_pattern(2))
        source.stop()

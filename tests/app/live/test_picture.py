"""What is drawn is byte for byte what Pillow would make of the frame."""

import numpy as np
import pytest
from PIL import Image

from app.live.picture import Picture

SHAPES = [(1, 1), (1, 2), (2, 1), (3, 5), (7, 4), (48, 64)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("turned", [False, True])
def test_the_bytes_for_the_graphics_memory_are_those_of_the_frame(shape, turned):
    frame = np.random.default_rng(3).integers(0, 256, (*shape, 3), dtype=np.uint8)
    frame = frame[::-1, ::-1] if turned else frame  # not contiguous
    expected = Image.fromarray(np.ascontiguousarray(frame)).convert("RGBA").tobytes()
    picture = Picture.of(frame)
    assert picture.rgba.tobytes() == expected
    assert picture.pixels is frame


def test_a_frame_that_may_not_be_written_is_left_alone():
    frame = np.full((2, 3, 3), 7, np.uint8)
    frame.setflags(write=False)
    assert Picture.of(frame).rgba.tolist() == [7, 7, 7, 255] * 6

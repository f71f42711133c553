import numpy as np
import pytest
from PIL import Image

from app.sources.sensor import nv21_pixels, rgba_pixels, turn_of


@pytest.mark.parametrize(
    ("orientation", "display", "front", "turn"),
    [
        (90, 0, False, 90),  # a common phone, upright
        (90, 90, False, 0),  # lying on its right side
        (90, 270, False, 180),
        (270, 0, True, 270),  # its front camera
        (270, 90, True, 0),
        (0, 0, False, 0),  # a tablet
    ],
)
def test_how_far_a_sensor_is_turned(orientation, display, front, turn):
    assert turn_of(orientation, display, front=front) == turn


def test_nv21_is_the_picture_that_went_in():
    y, x = np.mgrid[0:16, 0:24]
    colours = np.stack([60 + 6 * x, 40 + 9 * y, 200 - 5 * x], axis=2).astype(np.uint8)
    planes = np.asarray(Image.fromarray(colours).convert("YCbCr"))
    blue, red = (planes[..., i].reshape(8, 2, 12, 2).mean((1, 3)) for i in (1, 2))
    chroma = np.stack([red, blue], axis=-1).round().astype(np.uint8)  # V first
    data = planes[..., 0].tobytes() + chroma.tobytes()
    assert len(data) == 24 * 16 * 3 // 2
    back = nv21_pixels(data, 24, 16)
    assert back.shape == (16, 24, 3)
    assert np.abs(back.astype(int) - colours).max() <= 9  # chroma has half the resolution


def test_a_texture_loses_its_alpha():
    data = np.arange(2 * 3 * 4, dtype=np.uint8)
    pixels = rgba_pixels(data.tobytes(), 3, 2)
    np.testing.assert_array_equal(pixels[1, 2], [20, 21, 22])

"""What a phone's camera gives, as RGB, and how far it has to be turned.

Rotation as https://developer.android.com/reference/android/hardware/Camera.CameraInfo defines
`orientation`; NV21 as https://developer.android.com/reference/android/graphics/ImageFormat#NV21.
"""

from __future__ import annotations

import numpy as np

from headtail.preprocess import Frame

__all__ = ["nv21_pixels", "rgba_pixels", "turn_of"]


def turn_of(orientation: int, display: int, *, front: bool) -> int:
    """Degrees clockwise that make the picture of a sensor upright: 0, 90, 180 or 270.

    `orientation` is how far the sensor is turned in the phone, `display` how far the screen is
    turned from the phone's natural position, both in degrees.
    """
    return (orientation + display if front else orientation - display) % 360


def nv21_pixels(data: bytes, width: int, height: int) -> Frame:
    """A plane of luma and one of interleaved chroma (V before U) at half the size, as RGB.

    BT.601 over the full range, as in JPEG: (height, width, 3) uint8. `width` and `height` are even.
    """
    from PIL import Image

    planes = np.frombuffer(data, np.uint8)
    luma = planes[: width * height].reshape(height, width)
    chroma = planes[width * height :][: width * height // 2].reshape(height // 2, width // 2, 2)
    mode = Image.NEAREST  # type: ignore[attr-defined]  # kivy-ios' Pillow 8 has no Resampling
    red, blue = (
        Image.fromarray(np.ascontiguousarray(chroma[..., i])).resize((width, height), mode)
        for i in (0, 1)
    )
    merged = Image.merge("YCbCr", (Image.fromarray(luma), blue, red))
    return np.asarray(merged.convert("RGB"), np.uint8)


def rgba_pixels(data: bytes, width: int, height: int) -> Frame:
    """What a texture holds, without its alpha: (height, width, 3) uint8."""
    pixels = np.frombuffer(data, np.uint8).reshape(height, width, 4)
    return np.ascontiguousarray(pixels[..., :3])

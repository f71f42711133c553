"""A frame as it is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headtail.preprocess import Frame

__all__ = ["Picture"]

RGB = 3  # bytes
OPAQUE = np.uint32(0xFF000000)


@dataclass(frozen=True, eq=False)
class Picture:
    """Pixels to draw, (H, W, 3) uint8 RGB, upright, top row first, and the same as flat
    `rgba` bytes for the graphics memory; compared by identity.
    """

    pixels: Frame
    rgba: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, pixels: Frame) -> Picture:
        """Made on the thread that has the pixels: it takes time that the UI has not."""
        return cls(pixels, _opaque(pixels))


def _opaque(pixels: Frame) -> npt.NDArray[np.uint8]:
    """(H, W, 3) uint8 -> RGBA, flat. Pillow takes ten times as long, and the other threads wait."""
    flat = np.ascontiguousarray(pixels).reshape(-1)
    found = np.empty(flat.size // RGB, "<u4")
    # a word read at each pixel has a byte of the next one where its own opacity belongs
    words = np.ndarray((found.size - 1,), "<u4", flat.data, strides=(RGB,))
    np.bitwise_or(words, OPAQUE, out=found[:-1])
    rgba = found.view(np.uint8)
    rgba[-RGB - 1 :] = (*flat[-RGB:], 255)
    return rgba

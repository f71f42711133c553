"""A colour for each class: the same in boxes, masks, bars and legends, in light and in dark."""

from __future__ import annotations

import colorsys

import numpy as np
import numpy.typing as npt

from headtail.postprocess import Mask

__all__ = ["INK", "OPAQUE", "class_colour", "painted"]

INK = (0.09, 0.094, 0.11)  # of text on a class's colour
GOLDEN = 0.618033988749895  # turns of the hue from one class to the next: neighbours differ most
OPAQUE = 140  # of 255: the picture has to be seen through the mask
CLASSES = 256


def class_colour(index: int) -> tuple[float, float, float]:
    """Red, green and blue in [0, 1], light enough for `INK` on it."""
    return colorsys.hsv_to_rgb((0.02 + index * GOLDEN) % 1, 0.52, 1.0)


def painted(mask: Mask) -> npt.NDArray[np.uint8]:
    """The mask as (height, width, 4) uint8 RGBA; where there is background it is transparent."""
    table = np.zeros((CLASSES, 4), np.uint8)
    for segment in mask.segments:
        if not segment.background:
            rgb = [round(255 * value) for value in class_colour(segment.index)]
            table[segment.index] = (*rgb, OPAQUE)
    return table[mask.classes]

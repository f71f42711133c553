"""What reads QR codes: one interface, and the plane of light that every reader is given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from app.sources.photo import shrunk
from headtail.preprocess import Frame
from headtail.runtimes.base import Capability

__all__ = ["CodeReader", "Luma", "luma_of", "lumas_of_picture"]

Luma = np.ndarray[Any, np.dtype[np.uint8]]  # (H, W), dense
SIDES = (1080, 3200)  # pixels; a photo is read small first, which is faster and less noisy


class CodeReader(Protocol):
    """`probe` is asked on the UI thread, `decode` and `leave_thread` on one other thread."""

    name: str

    def probe(self) -> Capability:
        """Can it be used here? If not, why and what to do."""
        ...

    def decode(self, luma: Luma) -> list[str]:
        """The texts of the QR codes in `luma`, (H, W) uint8, in no order; none is an empty list.

        However they are turned, mirrored or not, dark on light or light on dark. Raises
        `RuntimeUnavailable` where what it stands on fails.
        """
        ...

    def leave_thread(self) -> None:
        """The thread that called `decode` ends."""
        ...


def luma_of(pixels: Frame) -> Luma:
    """ITU-R BT.601 luma of (H, W, 3) uint8 RGB, as Pillow computes it: (H, W) uint8, dense."""
    from PIL import Image

    return np.ascontiguousarray(Image.fromarray(pixels).convert("L"), np.uint8)


def lumas_of_picture(pixels: Frame) -> Iterator[Luma]:
    """A picture at the sizes at which a code in it is looked for, one after the other."""
    longer = 0
    for side in SIDES:
        smaller = shrunk(pixels, side=side)
        if max(smaller.shape) > longer:
            longer = max(smaller.shape)
            yield luma_of(np.ascontiguousarray(smaller))

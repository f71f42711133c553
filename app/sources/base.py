"""What a source of frames is: a camera, a photo, a replay or a pattern, behind one interface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from headtail.preprocess import Frame

__all__ = ["Deliver", "Failed", "FrameSource", "PhotoPicker", "SourceFrame", "upright"]

QUARTER = 90  # degrees


@dataclass(frozen=True, eq=False)
class SourceFrame:
    """`pixels` (H, W, 3) uint8 RGB as the sensor gave them, taken at `time_s` (monotonic clock).

    To be upright they have to be turned `rotation` degrees clockwise (0, 90, 180 or 270), and then,
    if `mirror`, swapped left and right: a front camera shows a person as a mirror does. `number`
    counts the frames of one start, from 0.
    """

    pixels: Frame
    time_s: float
    number: int
    rotation: int = 0
    mirror: bool = False


Deliver = Callable[[SourceFrame], None]
Failed = Callable[[Exception], None]


class FrameSource(Protocol):
    """Gives frames between `start` and `stop`, both called on the UI thread and never blocking.

    `still` sources give one frame for each start. A source may be started again after `stop`.
    """

    name: str
    still: bool

    def start(self, deliver: Deliver, failed: Failed) -> None:
        """Call `deliver` for every frame, on a thread of the source's own.

        What stands in the way is told to `failed` once, on any thread, and no frame follows:
        a `HeadtailError` for what is known, such as no camera or no permission.
        """
        ...

    def stop(self) -> None:
        """Give the device back. A frame or failure that is on its way may still come."""
        ...


class PhotoPicker(Protocol):
    """The system's own list of photos."""

    def pick(self, chosen: Callable[[Any], None], failed: Failed) -> None:
        """Show it. `chosen` hears of an `app.sources.photo.Photo`, nobody of a person who chose
        none; both are called on any thread.
        """
        ...


def upright(frame: SourceFrame) -> Frame:
    """The pixels turned and mirrored as the frame says, contiguous: the one place that does it."""
    pixels = np.rot90(frame.pixels, -(frame.rotation // QUARTER))
    if frame.mirror:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)

"""The camera of a desk computer, by OpenCV, which not every desk has."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from app.sources.stream import Stream, Timed
from headtail.errors import EnvironmentFault, MissingDependency

__all__ = ["Capture", "DeskCamera", "video_capture"]

Capture = Callable[[Any], Any]


class DeskCamera(Stream):
    """Camera `index`; its own pace is the pace. `capture` is `cv2.VideoCapture`, found when it is
    needed.
    """

    def __init__(self, *, index: int = 0, capture: Capture | None = None) -> None:
        super().__init__("camera")
        self._index = index
        self._capture = capture

    def frames(self) -> Iterator[Timed]:
        """Until the camera gives no more, which is an error: a camera has no end."""
        capture = (self._capture or video_capture("the camera of this computer"))(self._index)
        try:
            while True:
                there, bgr = capture.read()
                if not there:
                    break
                yield Timed(np.ascontiguousarray(bgr[..., ::-1]), 0.0)
        finally:
            capture.release()
        raise EnvironmentFault(
            "No camera gives pictures here.",
            expected="A camera that is connected and that no other program uses.",
            remedy="Connect one, close the other program, or go on without it.",
        )


def video_capture(needed_for: str) -> Capture:
    """`cv2.VideoCapture`; raises `MissingDependency` where OpenCV is not installed."""
    if importlib.util.find_spec("cv2") is None:
        raise MissingDependency(
            "opencv-python", needed_for=needed_for, install="pip install opencv-python-headless"
        )
    capture: Capture = importlib.import_module("cv2").VideoCapture
    return capture

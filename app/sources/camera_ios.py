"""iOS's side of the camera. The system asks the person by itself, with the sentence of Info.plist's
NSCameraUsageDescription, when the camera is opened; a refused camera gives no pictures. Photos are
chosen by `app.sources.picker_ios`.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["ask_for_camera", "back_camera"]

SENSOR = 90  # degrees that the back camera's sensor is turned in an upright iPhone


def ask_for_camera(tell: Callable[[bool], None]) -> None:
    """The system asks when it is opened."""
    tell(True)


def back_camera() -> tuple[int, bool]:
    """(rotation, mirror) of the back camera's pictures in an upright phone."""
    return SENSOR, False

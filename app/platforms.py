"""What this machine is called on screen, and which runtimes, camera, reader of codes and photo
picker it has.

One table. Runtimes stand in order of preference; one that cannot be used here says why, and the app
shows that. Nothing else in the app asks which platform it is on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.scanning.readers import CodeReader
from app.sources.base import FrameSource, PhotoPicker
from headtail.errors import UnknownName
from headtail.runtimes.base import Runtime

__all__ = ["PLATFORMS", "Platform", "find_platform"]


@dataclass(frozen=True)
class Platform:
    """`device` as it reads in a sentence; `runtimes()` in order of preference, several may be of
    one format. `code_reader()` reads QR codes. `picker` is None where the system shows no photos to
    choose from; there `chooser()` asks for the file of a picture.
    """

    device: str
    runtimes: Callable[[], tuple[Runtime, ...]]
    camera: Callable[[], FrameSource]
    code_reader: Callable[[], CodeReader]
    picker: Callable[[], PhotoPicker] | None = None
    chooser: Callable[[], PhotoPicker] | None = None


def _desk_runtimes() -> tuple[Runtime, ...]:
    from headtail.runtimes.executorch_desk import ExecuTorchDesk
    from headtail.runtimes.litert_ctypes import LiteRTCtypes
    from headtail.runtimes.litert_desk import LiteRTDesk

    return (LiteRTDesk(), LiteRTCtypes(), ExecuTorchDesk())


def _mac_runtimes() -> tuple[Runtime, ...]:
    from headtail.runtimes.coreml_desk import CoreMLDesk

    return (*_desk_runtimes(), CoreMLDesk())


def _android_runtimes() -> tuple[Runtime, ...]:
    from headtail.runtimes.executorch_java import ExecuTorchJava
    from headtail.runtimes.litert_ctypes import LiteRTCtypes
    from headtail.runtimes.litert_java import LiteRTJava

    return (LiteRTCtypes(timing_kind="device"), LiteRTJava(), ExecuTorchJava())


def _ios_runtimes() -> tuple[Runtime, ...]:
    from headtail.runtimes.coreml_bridge import CoreMLBridge

    return (CoreMLBridge(),)


def _desk_camera() -> FrameSource:
    from app.sources.camera_opencv import DeskCamera

    return DeskCamera()


def _desk_reader() -> CodeReader:
    from app.scanning.zxing_desk import ZXingDesk

    return ZXingDesk()


def _desk_chooser() -> PhotoPicker:
    from app.sources.picker_desk import FileDialog

    return FileDialog()


def _android_camera() -> FrameSource:
    from app.sources.camera_android import ask_for_camera, back_camera
    from app.sources.camera_kivy import PhoneCamera

    return PhoneCamera(ask=ask_for_camera, facing=back_camera)


def _android_reader() -> CodeReader:
    from app.scanning.zxing_java import ZXingJava

    return ZXingJava()


def _android_picker() -> PhotoPicker:
    from app.sources.camera_android import AndroidPicker

    return AndroidPicker()


def _ios_camera() -> FrameSource:
    from app.sources.camera_ios import ask_for_camera, back_camera
    from app.sources.camera_kivy import PhoneCamera

    return PhoneCamera(ask=ask_for_camera, facing=back_camera)


def _ios_reader() -> CodeReader:
    from app.scanning.vision import VisionReader

    return VisionReader()


def _ios_picker() -> PhotoPicker:
    from app.sources.picker_ios import PhotosPicker

    return PhotosPicker()


_DESK = Platform("this computer", _desk_runtimes, _desk_camera, _desk_reader, chooser=_desk_chooser)
_MAC = Platform("this computer", _mac_runtimes, _desk_camera, _desk_reader, chooser=_desk_chooser)
_ANDROID = Platform(
    "this phone", _android_runtimes, _android_camera, _android_reader, _android_picker
)
_IOS = Platform("this phone", _ios_runtimes, _ios_camera, _ios_reader, _ios_picker)

PLATFORMS: dict[str, Platform] = {  # the names of kivy.utils.platform
    "android": _ANDROID,
    "ios": _IOS,
    "linux": _DESK,
    "macosx": _MAC,
    "win": _DESK,
}


def find_platform(name: str) -> Platform:
    """The platform of that name; `UnknownName` lists what exists."""
    if name not in PLATFORMS:
        raise UnknownName("platform", name, PLATFORMS)
    return PLATFORMS[name]

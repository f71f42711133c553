"""Android's side of the camera and of choosing a photo, by pyjnius; imported on Android only.

Permissions: https://developer.android.com/training/permissions/requesting. The photo picker shows
the person's photos without any permission and hands over the chosen one alone:
https://developer.android.com/training/data-storage/shared/photopicker.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

from app.sources.photo import Photo, photo_bytes
from app.sources.sensor import turn_of
from headtail.errors import ImageFault

__all__ = ["AndroidPicker", "ask_for_camera", "back_camera"]

PICK = 0x4854  # our number for the request, so that others' answers are told from ours
PICKER_SINCE = 33  # the API level of ACTION_PICK_IMAGES
RESULT_OK = -1
MOST_BYTES = 64 << 20
QUARTER = 90


def ask_for_camera(tell: Callable[[bool], None]) -> None:
    """Ask unless it was granted before; `tell` hears whether the camera may be used."""
    permissions = importlib.import_module("android.permissions")  # python-for-android's
    camera = permissions.Permission.CAMERA
    if permissions.check_permission(camera):
        tell(True)
        return
    permissions.request_permissions([camera], lambda _asked, granted: tell(all(granted)))


def back_camera() -> tuple[int, bool]:
    """(rotation, mirror) of the first camera's pictures, as the phone is held now."""
    from jnius import autoclass

    info = autoclass("android.hardware.Camera$CameraInfo")()
    autoclass("android.hardware.Camera").getCameraInfo(0, info)
    activity = autoclass("org.kivy.android.PythonActivity").mActivity
    display = activity.getWindowManager().getDefaultDisplay().getRotation() * QUARTER
    front = info.facing == 1
    return turn_of(info.orientation, display, front=front), front


class AndroidPicker:
    """The system's own photo picker; before Android 13 its file chooser, for images."""

    def pick(self, chosen: Callable[[Photo], None], failed: Callable[[Exception], None]) -> None:
        """Show it. `chosen` hears of a photo, nobody of a person who chose none; any thread."""
        from jnius import autoclass

        from android import activity as results

        def answered(request: int, result: int, intent: Any) -> None:
            if request != PICK:
                return
            results.unbind(on_activity_result=answered)
            if result == RESULT_OK and intent is not None:
                try:
                    chosen(_photo(intent.getData()))
                except Exception as error:  # Java's exceptions, too
                    failed(error)

        results.bind(on_activity_result=answered)
        intent_class = autoclass("android.content.Intent")
        if autoclass("android.os.Build$VERSION").SDK_INT >= PICKER_SINCE:
            intent = intent_class(autoclass("android.provider.MediaStore").ACTION_PICK_IMAGES)
        else:
            intent = intent_class(intent_class.ACTION_GET_CONTENT)
            intent.addCategory(intent_class.CATEGORY_OPENABLE)
        intent.setType("image/*")
        autoclass("org.kivy.android.PythonActivity").mActivity.startActivityForResult(intent, PICK)


def _photo(uri: Any) -> Photo:
    from jnius import autoclass

    resolver = autoclass("org.kivy.android.PythonActivity").mActivity.getContentResolver()
    # the descriptor is ours after detachFd: no byte goes through Java
    with os.fdopen(resolver.openFileDescriptor(uri, "r").detachFd(), "rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ImageFault(
            f"The chosen photo has more than {MOST_BYTES >> 20} MB.",
            expected="A photo that fits into memory.",
            remedy="Choose another.",
        )
    return photo_bytes(data, "Chosen photo")

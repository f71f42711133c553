"""The C interface of `ios/pictures/pictures_bridge.h`, by ctypes: codes in a picture, and photos.

On iOS everything is linked into the app, so its symbols are found in the process itself; in the
tests the bridge is a library of its own. ctypes lets other threads run during a call.
"""

from __future__ import annotations

import ctypes
import json
import os
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np

from headtail.errors import EnvironmentFault, RuntimeUnavailable

__all__ = ["PicturesBridge", "Status", "open_pictures"]

ABI = 1
_TEXT_BYTES = 4096
_CODES_BYTES = 1 << 16  # a QR code holds 2,953 bytes at most
_LINKED = (
    "Add the files of ios/pictures/ with Vision.framework and PhotosUI.framework to the app in "
    "Xcode and build again (ios/README.md)."
)


class Status(IntEnum):
    """`headtail_pictures_status`."""

    OK = 0
    ARGUMENT = 1
    SYSTEM = 2
    BUSY = 3
    FAILED = 4
    WAITING = 5
    NOTHING = 6


class Text(ctypes.Structure):
    """`headtail_pictures_text`."""

    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_uint64))


_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "abi": (),
    "system": (ctypes.POINTER(Text),),
    "codes": (
        ctypes.c_void_p,
        ctypes.c_int32,
        ctypes.c_int32,
        ctypes.c_int64,
        ctypes.POINTER(Text),
        ctypes.POINTER(Text),
    ),
    "pick": (ctypes.POINTER(ctypes.c_int64), ctypes.POINTER(Text)),
    "wait": (ctypes.c_int64, ctypes.c_int32, ctypes.POINTER(Text), ctypes.POINTER(Text)),
}


def open_pictures(library: Path | None = None) -> PicturesBridge:
    """The bridge in this process (None) or in a library; `RuntimeUnavailable` says what to do."""
    try:
        return PicturesBridge(ctypes.CDLL(None if library is None else str(library)))
    except (OSError, TypeError, AttributeError):  # Windows has no process-wide table: a TypeError
        raise RuntimeUnavailable(
            "The bridge to the system's photos and codes is not in this app.",
            expected="iOS is reached through the bridge in ios/pictures/.",
            remedy=_LINKED,
        ) from None


class PicturesBridge:
    """Every method but `system` may raise `EnvironmentFault`, with what the system said."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._calls = {}
        for name, arguments in _SIGNATURES.items():
            call = getattr(library, f"headtail_pictures_{name}")
            call.restype, call.argtypes = ctypes.c_int32, arguments
            self._calls[name] = call
        found = self._calls["abi"]()
        if found != ABI:
            raise RuntimeUnavailable(
                f"The bridge to the system's photos and codes has interface {found}.",
                expected=f"This version of Headtail speaks interface {ABI}.",
                remedy="Build the app with the files of ios/pictures/ of this version.",
            )

    def system(self) -> str:
        """The system's version."""
        text, raw = _room(_TEXT_BYTES)
        self._calls["system"](text)
        return raw.value.decode(errors="replace")

    def codes(self, luma: np.ndarray[Any, np.dtype[np.uint8]]) -> list[str]:
        """The texts of the QR codes in (H, W) uint8; the memory is read where it lies."""
        dense = np.ascontiguousarray(luma)
        height, width = dense.shape
        texts, raw = _room(_CODES_BYTES)
        self._checked("codes", dense.ctypes.data, width, height, dense.strides[0], texts)
        found: list[str] = json.loads(raw.value)
        return found

    def pick(self) -> int:
        """Show the system's photos; the ticket to wait with. On the main thread."""
        ticket = ctypes.c_int64()
        self._checked("pick", ctypes.byref(ticket))
        return ticket.value

    def wait(self, ticket: int, milliseconds: int) -> tuple[Status, Path | None]:
        """`OK` and a file, which is the caller's; `NOTHING` if none was chosen; `WAITING`."""
        path, raw = _room(_TEXT_BYTES)
        status = self._checked("wait", ticket, milliseconds, path)
        return status, Path(os.fsdecode(raw.value)) if status is Status.OK else None

    def _checked(self, name: str, *arguments: object) -> Status:
        error, raw = _room(_TEXT_BYTES)
        status = Status(self._calls[name](*arguments, error))
        if status in (Status.OK, Status.WAITING, Status.NOTHING):
            return status
        raise EnvironmentFault(
            f"iOS could not do it: {raw.value.decode(errors='replace')}",
            expected="The system reads a picture, or shows its photos over this app.",
            remedy="Try again, or close the app and open it anew.",
        )


def _room(size: int) -> tuple[Text, ctypes.Array[ctypes.c_char]]:
    raw = ctypes.create_string_buffer(size)
    return Text(ctypes.addressof(raw), size), raw

"""The photos a person can choose: those inside the bundle and those in a folder.

A photo is a name and a way to get its pixels; decoding happens when somebody asks for them, on the
thread that asks.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from app.figures import drawable
from app.sources.base import Deliver, Failed, SourceFrame
from headtail.errors import UsageFault
from headtail.preprocess import Frame, load_image
from headtail.tensors import Array

__all__ = [
    "PREVIEW_SIDE",
    "SUFFIXES",
    "Photo",
    "PhotoSource",
    "bundled_photos",
    "folder_photos",
    "photo_bytes",
    "photo_file",
    "shrunk",
    "square",
]

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
MOST = 200  # photos in the strip; more is a file manager's work
PREVIEW_SIDE = 1080  # pixels; the width of a phone's screen
THUMBNAIL_SIDE = 192  # pixels


@dataclass(frozen=True, eq=False)
class Photo:
    """`key` is unique among the photos on screen; `load` gives (H, W, 3) uint8 RGB, upright.

    `load` raises `ImageFault` when the file is not an image any more.
    """

    key: str
    name: str
    load: Callable[[], Frame]


def photo_file(path: Path) -> Photo:
    """One image file; it is not opened yet."""
    return Photo(str(path), drawable(path.stem), partial(load_image, path))


def photo_bytes(data: bytes, name: str) -> Photo:
    """An image file's content; it is not decoded yet."""
    return Photo(f"bytes/{hashlib.sha256(data).hexdigest()}", name, partial(load_image, data))


class PhotoSource:
    """One photo: one frame for each start."""

    still = True

    def __init__(self, photo: Photo) -> None:
        self.name = photo.name
        self._photo = photo
        self._wanted = threading.Event()

    def start(self, deliver: Deliver, failed: Failed) -> None:
        """See `FrameSource.start`."""
        self.stop()
        self._wanted = wanted = threading.Event()
        wanted.set()
        threading.Thread(
            target=self._load, args=(deliver, failed, wanted), name="photo", daemon=True
        ).start()

    def stop(self) -> None:
        """See `FrameSource.stop`."""
        self._wanted.clear()

    def _load(self, deliver: Deliver, failed: Failed, wanted: threading.Event) -> None:
        try:
            pixels = self._photo.load()
            if wanted.is_set():
                deliver(SourceFrame(pixels, time.monotonic(), 0))
        except Exception as error:  # of whatever kind, it is the screen that has to say it
            if wanted.is_set():
                failed(error)


def folder_photos(folder: Path) -> tuple[Photo, ...]:
    """The first 200 image files of a folder by name. Raises `UsageFault` if it is no folder."""
    if not folder.is_dir():
        raise UsageFault(
            f"{folder} is not a folder.",
            expected="A folder with photos.",
            remedy="Give another folder, or drop a photo onto the window.",
        )
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    return tuple(photo_file(path) for path in files[:MOST])


def bundled_photos(golden: Mapping[str, Array]) -> tuple[Photo, ...]:
    """The camera frames among a bundle's golden vectors (`frame.<i>`), in order of i."""
    numbers = sorted(int(key[6:]) for key in golden if key.startswith("frame."))
    return tuple(_sample(number, golden[f"frame.{number}"]) for number in numbers[:MOST])


def _sample(number: int, pixels: Array) -> Photo:
    frame = np.asarray(pixels, np.uint8)
    return Photo(f"sample/{number}", f"Sample {number + 1}", lambda: frame)


def shrunk(frame: Frame, *, side: int = PREVIEW_SIDE) -> Frame:
    """The whole photo with its longer side at most `side` pixels."""
    height, width = frame.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return frame
    return _resized(frame, (max(1, round(width * scale)), max(1, round(height * scale))))


def square(frame: Frame, *, side: int = THUMBNAIL_SIDE) -> Frame:
    """The centre of the photo as a thumbnail of side x side pixels."""
    height, width = frame.shape[:2]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    return _resized(frame[top : top + edge, left : left + edge], (side, side))


def _resized(frame: Frame, size: tuple[int, int]) -> Frame:
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(frame))
    mode = Image.BILINEAR  # type: ignore[attr-defined]  # kivy-ios' Pillow 8 has no Resampling
    return np.asarray(image.resize(size, mode, reducing_gap=2.0), np.uint8)

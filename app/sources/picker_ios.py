"""Choosing a photo on iOS: PHPickerViewController, through the bridge in ios/pictures/.

It runs in a process of the system's own and hands over the chosen photo alone, so that it needs
neither a permission nor a key in Info.plist:
https://developer.apple.com/documentation/photokit/phpickerviewcontroller
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from app.sources.photo import Photo, photo_bytes
from app.sources.pictures_bridge import PicturesBridge, Status, open_pictures
from headtail.errors import ImageFault

__all__ = ["PhotosPicker"]

LOOK_MS = 500
MOST_BYTES = 64 << 20


class PhotosPicker:
    """See `PhotoPicker`. `library` is the bridge as a file, None if linked into the app."""

    def __init__(self, library: Path | None = None) -> None:
        self._library = library

    def pick(self, chosen: Callable[[Photo], None], failed: Callable[[Exception], None]) -> None:
        """Show it, on the main thread. The answer is waited for on a thread of its own."""
        try:
            bridge = open_pictures(self._library)
            ticket = bridge.pick()
        except Exception as error:  # of whatever kind, it is the screen that has to say it
            failed(error)
            return
        threading.Thread(
            target=_await, args=(bridge, ticket, chosen, failed), name="photos", daemon=True
        ).start()


def _await(
    bridge: PicturesBridge,
    ticket: int,
    chosen: Callable[[Photo], None],
    failed: Callable[[Exception], None],
) -> None:
    try:
        status, file = Status.WAITING, None
        while status is Status.WAITING:
            status, file = bridge.wait(ticket, LOOK_MS)
        if file is not None:
            chosen(_photo(file))
    except Exception as error:  # Apple's as well as ours
        failed(error)


def _photo(file: Path) -> Photo:
    """The photo in the bridge's own file, which is removed: nothing of it stays on disk."""
    try:
        size = file.stat().st_size
        if size > MOST_BYTES:
            raise ImageFault(
                f"The chosen photo has {size >> 20} MB.",
                expected=f"A photo of at most {MOST_BYTES >> 20} MB fits into memory.",
                remedy="Choose another.",
            )
        return photo_bytes(file.read_bytes(), "Chosen photo")
    finally:
        file.unlink(missing_ok=True)

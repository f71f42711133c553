"""Small pictures for the strip of photos, decoded on a thread of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from app.ending import ended
from app.live.picture import Picture
from app.live.state import Event, Thumbnailed
from app.sources.photo import Photo, square
from headtail.errors import ImageFault

__all__ = ["Thumbnails"]


class Thumbnails:
    """`tell` hears of every photo that was drawn, on the thread."""

    def __init__(self, tell: Callable[[Event], None]) -> None:
        self._tell = tell
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="thumbnails")

    def draw(self, photos: Sequence[Photo]) -> None:
        """Begin with these after those that wait."""
        for photo in photos:
            self._thread.submit(self._draw, photo)

    def close(self, *, timeout_s: float) -> bool:
        """Drop what waits; False if one is still being drawn after so many seconds."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        return ended(self._thread, timeout_s=timeout_s)

    def _draw(self, photo: Photo) -> None:
        try:
            picture = Picture.of(square(photo.load()))
        except ImageFault:  # said in full when somebody chooses it
            picture = None
        self._tell(Thumbnailed(photo, picture))

"""The thread that reads codes: of the camera's frames the newest alone, of chosen pictures each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from app.scanning.readers import CodeReader, Luma, luma_of, lumas_of_picture
from app.sources.base import SourceFrame, upright
from app.sources.photo import Photo

__all__ = ["Read", "ReadingThread"]


@dataclass(frozen=True)
class Read:
    """What the codes say; `photo` is the name of the chosen picture, "" for a camera's frame."""

    texts: tuple[str, ...]
    photo: str = ""


class ReadingThread:
    """Begins with the first `offer` or `read` and ends with `stop`; one start, one thread.

    `tell` hears of every frame with a code in it and of every chosen picture, `failed` of what went
    wrong; both on the thread.
    """

    def __init__(
        self,
        reader: CodeReader,
        *,
        tell: Callable[[Read], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._reader = reader
        self._tell = tell
        self._failed = failed
        self._wake = threading.Condition()
        self._frame: SourceFrame | None = None
        self._photos: list[Photo] = []
        self._stopped = False
        self._thread: threading.Thread | None = None

    def offer(self, frame: SourceFrame) -> None:
        """A frame of the camera, in the place of one that was not looked at yet; any thread."""
        with self._wake:
            self._frame = frame
            self._go()

    def read(self, photo: Photo) -> None:
        """A picture that somebody chose: its turn comes before the next frame."""
        with self._wake:
            self._photos.append(photo)
            self._go()

    def stop(self) -> None:
        """End once what is being read is read; nothing is told any more."""
        with self._wake:
            self._stopped = True
            self._frame = None
            self._photos.clear()
            self._wake.notify()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; whether it came."""
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _go(self) -> None:
        if self._stopped:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name="codes", daemon=True)
            self._thread.start()
        self._wake.notify()

    def _loop(self) -> None:
        try:
            while True:
                with self._wake:
                    self._wake.wait_for(lambda: self._stopped or self._photos or self._frame)
                    if self._stopped:
                        return
                    photo = self._photos.pop(0) if self._photos else None
                    if photo is None:
                        frame, self._frame = self._frame, None
                self._work(photo if photo is not None else frame)
        finally:
            self._reader.leave_thread()

    def _work(self, asked: Photo | SourceFrame | None) -> None:
        try:
            if isinstance(asked, Photo):
                self._say(Read(self._texts(lumas_of_picture(asked.load())), asked.name))
            elif asked is not None:
                texts = self._texts(iter((luma_of(upright(asked)),)))
                if texts:
                    self._say(Read(texts))
        except Exception as error:  # of whatever kind, it is the screen that has to say it
            if not self._stopped:
                self._failed(error)

    def _texts(self, lumas: Iterator[Luma]) -> tuple[str, ...]:
        for luma in lumas:
            texts = self._reader.decode(luma)
            if texts:
                return tuple(texts)
        return ()

    def _say(self, read: Read) -> None:
        if not self._stopped:
            self._tell(read)

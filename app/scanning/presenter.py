"""Behind the scanner: opens the platform's camera, has its frames read, and hands a link on.

Every public method runs on the UI thread and returns at once. Frames and what was read come back
through `hand_over`; what belongs to an earlier start changes nothing any more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.ending import ENDS_S
from app.live.state import Picture
from app.platforms import Platform
from app.presenter import HandOver, Presenter
from app.problems import Problem, problem_of
from app.scanning.codes import judge
from app.scanning.readers import CodeReader
from app.scanning.state import ScanState
from app.scanning.worker import Read, ReadingThread
from app.sources.base import FrameSource, SourceFrame, upright
from app.sources.photo import Photo, photo_file, shrunk
from headtail.runtimes.base import Capability

__all__ = ["ScanPresenter"]

PREVIEW = 640  # pixels of the picture's longer side


class ScanPresenter(Presenter[ScanState]):
    """`found` hears of a pairing link, on the UI thread, after the scanner has closed itself."""

    def __init__(
        self, platform: Platform, *, found: Callable[[str], None], hand_over: HandOver
    ) -> None:
        self._picker = platform.picker or platform.chooser
        super().__init__(ScanState(can_pick=self._picker is not None, can_drop=not platform.picker))
        self._closed = self.state
        self._platform = platform
        self._found = found
        self._hand_over = hand_over
        self._reader: CodeReader | None = None
        self._camera: FrameSource | None = None
        self._run: _Run | None = None
        self._ended: list[ReadingThread] = []

    def open(self) -> None:
        """Show the scanner and, if codes can be read here, start the camera."""
        if self.state.opened:
            return
        self._show(replace(self._closed, opened=True))
        self._reader = self._reader or self._platform.code_reader()
        capability = self._reader.probe()
        if capability.available:
            self._begin(self._reader)
        else:
            self._change(unable=_unable(capability))

    def close(self) -> None:
        """Put it away; the camera is released before this returns."""
        self.leave()
        if self.state.opened:
            self._show(self._closed)

    def back(self) -> bool:
        """What the back button does: close it; False if it is not open."""
        opened = self.state.opened
        self.close()
        return opened

    def leave(self) -> None:
        """The window is taken away: the camera is released until `enter`."""
        run, self._run = self._run, None
        if run is not None:
            run.end()
            self._ended = [t for t in self._ended if not t.join(0)] + [run.thread]

    def enter(self) -> None:
        """The window is back."""
        if self.state.opened and self.state.unable is None and self._run is None:
            assert self._reader is not None  # made by open
            self._change(picture=None, obstacle=None, reading="")
            self._begin(self._reader)

    def drop(self, path: Path) -> bool:
        """A file was dropped on the window; False if it is not for the scanner."""
        if not self.state.opened:
            return False
        if self._run is not None:
            self._read(photo_file(path))
        return True

    def pick(self) -> None:
        """Let the person choose a picture of the code."""
        if self._picker is not None and self.state.opened:
            self._picker().pick(
                lambda photo: self._hand_over(lambda: self._read(photo)),
                lambda error: self._hand_over(lambda: self._fail(error)),
            )

    def shut(self, *, timeout_s: float = ENDS_S) -> bool:
        """The app ends: release everything; False if a picture was still being read after so many
        seconds."""
        self.close()
        end_s = time.monotonic() + timeout_s
        ended = [t.join(max(0.0, end_s - time.monotonic())) for t in self._ended]
        return all(ended)  # every one was waited for

    def _begin(self, reader: CodeReader) -> None:
        if self._camera is None:
            self._camera = self._platform.camera()
        self._run = _Run(self, reader, self._camera)
        self._run.begin()

    def _read(self, photo: Photo) -> None:
        self.enter()  # choosing one may have taken the window away
        if self._run is not None:
            self._change(note="", reading=photo.name)
            self._run.thread.read(photo)

    def _fail(self, error: Exception) -> None:
        if self.state.opened:
            self._change(note=_sentence(problem_of(error)), reading="")

    # -- what came back ----------------------------------------------------------------------------

    def take(self, run: _Run, act: Callable[[], None]) -> None:
        """Have `act` done on the UI thread if `run` is still the one; from any thread."""
        self._hand_over(lambda: act() if run is self._run else None)

    def see(self, picture: Picture) -> None:
        """A frame of the camera."""
        self._change(picture=picture)

    def hear(self, read: Read) -> None:
        """What the codes of a frame or of a chosen picture say."""
        reading = "" if read.photo else self.state.reading
        if not read.texts:
            self._change(note=f"There is no QR code in {read.photo}.", reading=reading)
            return
        judged = judge(read.texts)
        if judged.link:
            self.close()
            self._found(judged.link)
        elif (judged.note, reading) != (self.state.note, self.state.reading):
            self._change(note=judged.note, reading=reading)

    def block(self, error: Exception) -> None:
        """The camera gives nothing."""
        self._change(obstacle=problem_of(error), picture=None)

    def complain(self, error: Exception) -> None:
        """A frame or picture could not be read."""
        self._fail(error)

    def _change(self, **changes: Any) -> None:
        self._show(replace(self.state, **changes))


class _Run:
    """One start of the camera, with the thread that reads its frames."""

    def __init__(self, presenter: ScanPresenter, reader: CodeReader, camera: FrameSource) -> None:
        self._presenter = presenter
        self._camera = camera
        self._lock = threading.Lock()
        self._newest: Picture | None = None
        self.thread = ReadingThread(
            reader,
            tell=lambda read: presenter.take(self, lambda: presenter.hear(read)),
            failed=lambda error: presenter.take(self, lambda: presenter.complain(error)),
        )

    def begin(self) -> None:
        self._camera.start(
            self._deliver,
            lambda error: self._presenter.take(self, lambda: self._presenter.block(error)),
        )

    def end(self) -> None:
        self._camera.stop()
        self.thread.stop()

    def _deliver(self, frame: SourceFrame) -> None:  # on the camera's thread
        self.thread.offer(frame)
        picture = Picture.of(shrunk(upright(frame), side=PREVIEW))
        with self._lock:
            waits, self._newest = self._newest is not None, picture
        if not waits:
            self._presenter.take(self, self._draw)

    def _draw(self) -> None:
        with self._lock:
            picture, self._newest = self._newest, None
        if picture is not None:
            self._presenter.see(picture)


def _unable(capability: Capability) -> Problem:
    return Problem("Codes cannot be read here.", capability.reason, capability.reason)


def _sentence(problem: Problem) -> str:
    return f"{problem.what} {problem.remedy}"

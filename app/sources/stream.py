"""A source that makes its frames on a thread of its own, at their own pace."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from app.sources.base import Deliver, Failed, SourceFrame
from headtail.preprocess import Frame

__all__ = ["Stream", "Timed"]


@dataclass(frozen=True, eq=False)
class Timed:
    """Upright pixels and how many seconds they are shown."""

    pixels: Frame
    shown_s: float


class Stream:
    """Gives the frames of `frames()`, which is iterated on the thread and closed with it.

    A frame that is due while the one before it is still being taken comes late; nothing is made up
    for, so that a slow machine plays slowly instead of skipping.
    """

    still = False

    def __init__(self, name: str) -> None:
        self.name = name
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def frames(self) -> Iterable[Timed]:
        """Every frame, in order; what it raises is told to `failed`."""
        raise NotImplementedError

    def start(self, deliver: Deliver, failed: Failed) -> None:
        """See `FrameSource.start`."""
        self.stop()
        former, self._stopping = self._thread, threading.Event()
        arguments = (deliver, failed, self._stopping, former)
        self._thread = threading.Thread(
            target=self._run, args=arguments, name=self.name, daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """See `FrameSource.stop`."""
        self._stopping.set()

    def _run(
        self,
        deliver: Deliver,
        failed: Failed,
        stopping: threading.Event,
        former: threading.Thread | None,
    ) -> None:
        if former is not None:  # it may still hold the device
            former.join()
        frames: Iterator[Timed] = iter(self.frames())
        try:
            due_s = time.monotonic()
            for number, frame in enumerate(frames):
                if stopping.is_set():
                    return
                now_s = time.monotonic()
                deliver(SourceFrame(frame.pixels, now_s, number))
                due_s = max(due_s, now_s) + frame.shown_s
                if stopping.wait(max(0.0, due_s - time.monotonic())):
                    return
        except Exception as error:  # of whatever kind, it is the screen that has to say it
            if not stopping.is_set():
                failed(error)
        finally:
            close = getattr(frames, "close", None)
            if close is not None:  # a generator holds an open file or device
                close()

"""One inference thread behind every source: the newest frame wins, and no frame is lost unseen.

While one frame is answered at most one more waits; a newer one takes its place and it counts as
skipped, because nobody wants the answer for a picture that is gone. A frame that has been begun is
finished: with frames arriving faster than they are answered, giving up half-way would answer none.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from app.live.picture import Picture
from app.live.readings import Counts, Meter
from app.live.request import Request
from app.live.state import Answered, Event, Failed, Pictured, Result
from app.problems import problem_of
from app.sources.base import SourceFrame, upright
from app.sources.photo import shrunk
from headtail.preprocess import Frame

__all__ = ["Answerer", "Pipeline"]


class Answerer(Protocol):
    """What the thread works with; every method is called on it."""

    def prepare(self, request: Request) -> Iterator[Event]:
        """Open what `request` needs and tell each step; raises what stands in the way."""
        ...

    def answer(self, frame: Frame, *, handed_s: float) -> Result | None:
        """Answer an upright frame that was handed in at `handed_s` (perf_counter); None if nothing
        is open. Raises what stands in the way."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


class _Waiting(NamedTuple):
    frame: Frame
    handed_s: float
    shown: threading.Event  # set once its picture was told, where that is told ahead


class Pipeline:
    """`tell` hears of every event, on the thread that it came about on.

    Of a frame's way, `hand_in` does what costs little on the source's thread: it turns it upright.
    """

    def __init__(self, answerer: Answerer, *, tell: Callable[[Event], None]) -> None:
        self._answerer = answerer
        self._tell = tell
        self._wake = threading.Condition()
        self._request: Request | None = None  # the newest
        self._fresh = False  # whether it was not looked at yet
        self._waiting: _Waiting | None = None
        self._counts = Counts()
        self._meter = Meter()
        self._stopping = False
        self._thread = threading.Thread(target=self._loop, name="inference", daemon=True)
        self._thread.start()

    def ask(self, request: Request) -> None:
        """Answer what comes from now on by `request`. Never blocks for long."""
        with self._wake:
            if self._request is not None and request.run != self._request.run:
                self._drop_waiting()
            self._request, self._fresh = request, True
            self._wake.notify()

    def hand_in(self, run: int, frame: SourceFrame) -> None:
        """A frame of the source's start `run`. Called on the source's thread."""
        handed_s = time.perf_counter()
        pixels = upright(frame)
        request = self._counted_in(run)
        if request is not None:
            shown = threading.Event()
            self._offer(run, _Waiting(pixels, handed_s, shown))
            try:
                if request.ahead:  # after the offer: what is drawn must not keep inference waiting
                    self._tell(Pictured(run, Picture.of(shrunk(pixels))))
            finally:
                shown.set()

    def counts(self) -> Counts:
        """What became of the frames so far."""
        with self._wake:
            return self._counts

    def stop(self, *, timeout_s: float = 5.0) -> bool:
        """Drop the waiting frame, let the begun one end, stop. False if it is still at work then.

        After it returns True nothing more is told. The thread is a daemon, so that a runtime stuck
        in native code cannot keep the process alive.
        """
        with self._wake:
            self._stopping = True
            self._drop_waiting()
            self._wake.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _counted_in(self, run: int) -> Request | None:
        """The request that a frame of that run is for; None if it is not wanted any more."""
        with self._wake:
            if self._stopping:
                return None
            self._add(handed=1)
            if self._request is None or run != self._request.run:
                self._add(skipped=1)
                return None
            return self._request

    def _offer(self, run: int, waiting: _Waiting) -> None:
        with self._wake:
            if self._stopping or self._request is None or run != self._request.run:
                self._add(skipped=1)
                return
            self._drop_waiting()
            self._waiting = waiting
            self._wake.notify()

    def _drop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting = None
            self._add(skipped=1)

    def _add(self, **more: int) -> None:
        sums = {name: getattr(self._counts, name) + n for name, n in more.items()}
        self._counts = dataclasses.replace(self._counts, **sums)

    def _loop(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._fresh or self._waiting or self._stopping)
                if self._stopping:
                    break
                request, fresh, self._fresh = self._request, self._fresh, False
                waiting, self._waiting = self._waiting, None
            assert request is not None  # a frame is only taken for one
            if fresh:
                self._prepare(request)
            if waiting is not None:
                self._answer(request, waiting)
        self._answerer.close()

    def _prepare(self, request: Request) -> None:
        self._meter.clear()
        try:
            for event in self._answerer.prepare(request):
                self._tell(event)
        except Exception as error:  # whatever it was, the next request must be answered
            self._tell(Failed(request.ticket, problem_of(error)))

    def _answer(self, request: Request, waiting: _Waiting) -> None:
        try:
            result = self._answerer.answer(waiting.frame, handed_s=waiting.handed_s)
        except Exception as error:  # whatever it was, the next frame must be answered
            with self._wake:
                self._add(failed=1)
            self._tell(Failed(request.ticket, problem_of(error)))
            return
        with self._wake:
            self._add(answered=1) if result is not None else self._add(skipped=1)
            counts = self._counts
        if result is not None:
            self._meter.add(result.frame_ms, at_s=time.monotonic())
            readings = self._meter.read(counts)
            picture = None if request.ahead else Picture.of(shrunk(waiting.frame))
            waiting.shown.wait()  # an answer to a picture that nobody saw yet would be another's
            self._tell(Answered(request.ticket, request.run, result, readings, picture))
        elif not request.ahead:
            self._tell(Pictured(request.run, Picture.of(shrunk(waiting.frame))))

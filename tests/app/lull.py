"""Whether the app has done all that it was asked, on whichever thread: before that, a picture of it
is a picture of half of it."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

__all__ = ["Lull"]


class Lull:
    """Looked at once a frame. `lasted` counts the looks in a row at which nothing was new.

    The threads behind the pages do what waits for them in turn: once each of them has passed a
    mark, all is done that it was asked before, and what came of it waits for the next frame. So a
    look counts only when all marks of the former one are passed.
    """

    def __init__(self, application: Any) -> None:
        pages = ("settings", "offloading", "report", "models", "live", "benchmark")
        self._presenters = [getattr(application, page) for page in pages]
        models, live = application.models, application.live
        lanes = (*self._presenters[:3], models._files, models._downloads, live._thumbnails)
        self._threads = [lane._thread for lane in lanes]
        self._marks: list[Future[int]] = []
        self._states: list[object] = []
        self.lasted = 0

    def look(self, *, calm: bool) -> None:
        """`calm`: what the pages say of themselves."""
        states = [presenter.state for presenter in self._presenters]
        if not calm or any(a is not b for a, b in zip(states, self._states, strict=False)):
            self.lasted = min(self.lasted, 0)
        elif all(mark.done() for mark in self._marks):
            self.lasted += 1
            self._marks = [thread.submit(int) for thread in self._threads]
        self._states = states

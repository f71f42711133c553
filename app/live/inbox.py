"""Events from other threads, taken on the UI thread at most once a turn of its loop."""

from __future__ import annotations

import threading
from collections.abc import Callable

from app.live.state import Answered, Event, Pictured
from app.presenter import HandOver

__all__ = ["Inbox"]


class Inbox:
    """Frames come faster than a screen can show them: of pictures and answers only the newest is
    kept, so that the UI thread's work does not grow with their number. Everything else arrives, in
    order.
    """

    def __init__(self, hand_over: HandOver, take: Callable[[list[Event]], None]) -> None:
        self._hand_over = hand_over
        self._take = take
        self._lock = threading.Lock()
        self._events: list[Event] = []

    def put(self, event: Event) -> None:
        """From any thread."""
        with self._lock:
            first = not self._events
            if isinstance(event, Pictured | Answered):
                self._events = [e for e in self._events if not _replaces(event, e)]
            self._events.append(event)
        if first:
            self._hand_over(self._empty)

    def call(self, call: Callable[[], None]) -> None:
        """Run something on the UI thread; from any thread."""
        self._hand_over(call)

    def _empty(self) -> None:
        with self._lock:
            events, self._events = self._events, []
        self._take(events)


def _replaces(event: Pictured | Answered, former: Event) -> bool:
    # of another run it may come late, and must not take the place of what is wanted
    return type(former) is type(event) and getattr(former, "run", None) == event.run

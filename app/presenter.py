"""What stands behind a screen: the state that it shows, and who is told when that changes.

A presenter lives on the UI thread and never blocks; it knows no kivy, so that it is tested without
a window. Work on other threads comes back through a `HandOver`, which is kivy's Clock in the app
and a queue in tests. A state is a frozen value: a screen draws it and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["HandOver", "Presenter"]

State = TypeVar("State")
HandOver = Callable[[Callable[[], None]], None]  # runs the call on the UI thread, later


class Presenter(Generic[State]):
    """Holds `state`; every change is told to all who subscribed, in the order they did.

    Who listens may cause the next change: then all are told of that, and nobody of the one before
    it afterwards.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self._listeners: list[Callable[[State], None]] = []

    def subscribe(self, listen: Callable[[State], None]) -> Callable[[], None]:
        """Have `listen` called now and after each change; returns what ends that."""
        self._listeners.append(listen)
        listen(self.state)
        return lambda: self._listeners.remove(listen)

    def _show(self, state: State) -> None:
        self.state = state
        for listen in tuple(self._listeners):
            if self.state is not state:
                return
            if listen in self._listeners:  # or it unsubscribed while another one listened
                listen(state)

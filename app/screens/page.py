"""What every page is: a header with title and line below it, and its content under that.

A page is built when it is first shown, or before, and kept. It subscribes to its presenter, draws
states and passes gestures on. `leave` is called when another page takes its place; from then on it
draws nothing, so that pages nobody sees cost no time.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kivy.lang import Builder
from kivy.metrics import dp
from kivy.properties import BooleanProperty, StringProperty
from kivy.uix.boxlayout import BoxLayout

from app.presenter import Presenter, State
from app.widgets import controls, icons  # noqa: F401  # their names are used in the .kv

__all__ = ["WIDE_FROM", "Header", "Page"]

WIDE_FROM = 720  # width in dp from which two columns are used


class Header(BoxLayout):  # type: ignore[misc]  # kivy has no types
    """Logo, title and subtitle; children added in .kv stand at its right end."""

    title = StringProperty("")
    subtitle = StringProperty("")


class Page(BoxLayout):  # type: ignore[misc]  # kivy has no types
    """`wide` is whether there is room for two columns; colours come from `app.theme`."""

    wide = BooleanProperty(False)

    def __init__(self, **properties: Any) -> None:
        self._ends: list[Callable[[], None]] = []
        self._catches_up: list[Callable[[], None]] = []
        self._hidden = False
        self._notices: tuple[Any, ...] = ()
        super().__init__(**properties)
        self.bind(width=self._fold)
        self._fold()

    def watch(self, presenter: Presenter[State], show: Callable[[State], None]) -> None:
        """Have `show` called with every state until the page is closed; while the page is hidden,
        with the last one, when it is revealed."""
        missed: list[State] = []

        def listen(state: State) -> None:
            if self._hidden:
                missed[:] = [state]
            else:
                show(state)

        def catch_up() -> None:
            if missed:
                show(missed.pop())

        self._ends.append(presenter.subscribe(listen))
        self._catches_up.append(catch_up)

    def hide(self) -> None:
        """Nobody sees the page: draw nothing."""
        self._hidden = True

    def reveal(self) -> None:
        """The page is seen (again): draw what was missed."""
        self._hidden = False
        for catch_up in self._catches_up:
            catch_up()

    def close(self) -> None:
        """The page is dropped for another of its kind: listen no more."""
        for end in self._ends:
            end()

    def announce(self, *notices: Any) -> None:
        """Show these widgets under the header instead of those that were announced before."""
        for notice in self._notices:
            self.remove_widget(notice)
        self._notices = notices
        below_header = len(self.children) - 1  # kivy's last child is the first in the .kv
        for notice in reversed(notices):
            self.add_widget(notice, index=below_header)
            below_header += 1

    def enter(self) -> None:
        """The page is shown."""

    def leave(self) -> None:
        """Another page takes its place."""

    def _fold(self, *_: object) -> None:
        self.wide = self.width >= dp(WIDE_FROM)


Builder.load_file(str(Path(__file__).with_suffix(".kv")))

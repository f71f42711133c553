"""Reaching every control by keyboard: Tab and Shift+Tab go on and back, Enter and Space press.

Only where there is a keyboard (kivy's `desktop` setting): on a phone a focused widget would call up
the letters. A pointer presses without taking the focus, so that the ring is seen by those alone who
go by keyboard. Escape gives a text field up; elsewhere it goes back, which the app does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kivy.core.window import Window
from kivy.lang import Builder
from kivy.uix.behaviors import FocusBehavior
from kivy.uix.scrollview import ScrollView

from app.widgets import shapes  # noqa: F401  # its names are used in the .kv

__all__ = ["Focusable", "focus_first", "unfocus"]

PRESSES = ("enter", "numpadenter", "spacebar")
SEEN_FOR_S = 0.1  # how long a button pressed by keyboard looks pressed


class Focusable(FocusBehavior):  # type: ignore[misc]  # kivy has no types
    """Mix in before `ButtonBehavior`: `class Knob(Focusable, ButtonBehavior, Widget)`."""

    def on_touch_down(self, touch: Any) -> Any:
        """A touch goes to the button alone and leaves the focus where it is."""
        return super(FocusBehavior, self).on_touch_down(touch)

    def on_focus(self, _widget: Any, focus: bool) -> None:
        """What has the focus is scrolled into view."""
        if focus:
            scroll_into_view(self)

    def keyboard_on_key_down(
        self, window: Any, keycode: tuple[int, str], text: str | None, modifiers: list[str]
    ) -> Any:
        """Enter and Space press; Tab is the base's."""
        if keycode[1] in PRESSES:
            self.trigger_action(SEEN_FOR_S)
            return True
        return super().keyboard_on_key_down(window, keycode, text, modifiers)


def focus_first(root: Any) -> bool:
    """Give the first control below `root` the focus; False if there is none."""
    for widget in root.walk(restrict=True):
        if isinstance(widget, FocusBehavior) and widget.is_focusable and not widget.disabled:
            widget.focus = True
            return True
    return False


def unfocus(root: Any) -> None:
    """Take the focus from whatever has it below `root`, which leaves the screen."""
    for widget in root.walk(restrict=True):
        if isinstance(widget, FocusBehavior):
            widget.focus = False


def scroll_into_view(widget: Any) -> None:
    """Scroll whatever contains `widget` so that it can be seen."""
    parent = widget.parent
    while parent is not None and parent is not Window:
        if isinstance(parent, ScrollView):
            parent.scroll_to(widget, animate=False)
        parent = parent.parent


Builder.load_file(str(Path(__file__).with_suffix(".kv")))

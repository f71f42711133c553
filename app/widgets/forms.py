"""The parts of a form: sections, choices, switches, sliders, fields, lines of text.

Each tells what a person did by an event and is set by its property; setting one tells nothing, so
that a screen can draw a state without answering itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kivy.lang import Builder
from kivy.properties import (
    BooleanProperty,
    ListProperty,
    NumericProperty,
    ObjectProperty,
    StringProperty,
)
from kivy.uix.behaviors import ButtonBehavior
from kivy.uix.boxlayout import BoxLayout
from kivy.uix.label import Label
from kivy.uix.widget import Widget

from app.widgets import icons  # noqa: F401  # its names are used in the .kv
from app.widgets.controls import Card, SwitchOption
from app.widgets.focus import Focusable

__all__ = [
    "Choice",
    "Entry",
    "FactRow",
    "Pick",
    "Prose",
    "Section",
    "Slide",
    "SlideRow",
    "Toggle",
    "WideButton",
]


class Section(Card):
    """A card with a title."""

    title = StringProperty("")


class Prose(Label):  # type: ignore[misc]  # kivy has no types
    """Text that wraps and is as high as it needs; nothing at all where it is empty."""


class WideButton(Focusable, ButtonBehavior, Label):  # type: ignore[misc]  # kivy has no types
    """A button as wide as its place, filled with `ground`."""

    ground = ListProperty([0, 0, 0, 0])


class FactRow(BoxLayout):  # type: ignore[misc]  # kivy has no types
    """A name at the left, what it is at the right."""

    name = StringProperty("")
    value = StringProperty("")


class Choice(BoxLayout):  # type: ignore[misc]  # kivy has no types
    """One of a few, side by side: `options` are `(value, text)`; `on_choose(value)` by a person."""

    options = ListProperty([])
    value = ObjectProperty("")
    __events__ = ("on_choose",)

    def on_choose(self, value: Any) -> None:
        """A person chose; the screen binds this."""

    def on_options(self, *_: object) -> None:
        """Make the sides anew."""
        self.clear_widgets()
        for value, text in self.options:
            side = SwitchOption(text=text, chosen=value == self.value)
            side.bind(on_release=lambda _side, value=value: self.dispatch("on_choose", value))
            self.add_widget(side)

    def on_value(self, *_: object) -> None:
        """Show which side is on."""
        for side, (value, _text) in zip(reversed(self.children), self.options, strict=True):
            side.chosen = value == self.value


class Pick(Focusable, ButtonBehavior, BoxLayout):  # type: ignore[misc]  # kivy has no types
    """One of a list, below each other: a ring that is full if `chosen`, a text and a line below."""

    text = StringProperty("")
    detail = StringProperty("")
    chosen = BooleanProperty(False)


class Toggle(Focusable, ButtonBehavior, BoxLayout):  # type: ignore[misc]  # kivy has no types
    """A switch with its text; `on_release` is the gesture, `on` what is drawn."""

    text = StringProperty("")
    detail = StringProperty("")
    on = BooleanProperty(False)


class Slide(Focusable, Widget):  # type: ignore[misc]  # kivy has no types
    """A slider over whole numbers; `on_choose(value)` when a person lets go or presses an arrow.

    While it is dragged `value` follows the finger and nothing is told. `knob` is where it is drawn.
    """

    least = NumericProperty(0)
    most = NumericProperty(1)
    value = NumericProperty(0)
    share = NumericProperty(0)
    knob = NumericProperty(0)
    __events__ = ("on_choose",)

    def on_choose(self, value: int) -> None:
        """A person chose; the screen binds this."""

    def on_touch_down(self, touch: Any) -> Any:
        """Begin to drag."""
        if self.disabled or touch.is_mouse_scrolling or not self.collide_point(*touch.pos):
            return False
        touch.grab(self)
        self._follow(touch)
        return True

    def on_touch_move(self, touch: Any) -> Any:
        """Drag."""
        if touch.grab_current is not self:
            return False
        self._follow(touch)
        return True

    def on_touch_up(self, touch: Any) -> Any:
        """Let go."""
        if touch.grab_current is not self:
            return False
        touch.ungrab(self)
        self.dispatch("on_choose", int(self.value))
        return True

    def keyboard_on_key_down(
        self, window: Any, keycode: tuple[int, str], text: str | None, modifiers: list[str]
    ) -> Any:
        """Arrows step."""
        step = {"left": -1, "down": -1, "right": 1, "up": 1}.get(keycode[1])
        if step is None:
            return super().keyboard_on_key_down(window, keycode, text, modifiers)
        self.value = min(max(self.value + step, self.least), self.most)
        self.dispatch("on_choose", int(self.value))
        return True

    def trigger_action(self, _seen_for_s: float) -> None:
        """Enter chooses what is shown."""
        self.dispatch("on_choose", int(self.value))

    def _follow(self, touch: Any) -> None:
        share = (touch.x - self.x - self.height / 2) / max(1.0, self.width - self.height)
        share = min(max(share, 0.0), 1.0)
        self.value = round(self.least + share * (self.most - self.least))


class SlideRow(BoxLayout):  # type: ignore[misc]  # kivy has no types
    """A text, the value, and the slider below them."""

    text = StringProperty("")
    unit = StringProperty("")
    least = NumericProperty(0)
    most = NumericProperty(1)
    value = NumericProperty(0)
    __events__ = ("on_choose",)

    def on_choose(self, value: int) -> None:
        """A person chose; the screen binds this."""


class Entry(BoxLayout):  # type: ignore[misc]  # kivy has no types
    """A field with its name above and what is wrong with its text below.

    `text` is what the screen writes into it, `typed` what stands there.
    `on_type(text)` at every letter that a person types, `on_enter(text)` when they press Enter,
    `on_leave(text)` when they go elsewhere, which after Enter they do as well.
    """

    name = StringProperty("")
    text = StringProperty("")
    hint = StringProperty("")
    complaint = StringProperty("")
    input_type = StringProperty("text")
    secret = BooleanProperty(False)
    __events__ = ("on_enter", "on_leave", "on_type")

    def on_enter(self, text: str) -> None:
        """Enter was pressed; the screen binds this."""

    def on_leave(self, text: str) -> None:
        """Something else has the focus; the screen binds this."""

    def on_type(self, text: str) -> None:
        """The text changed under a person's hands; the screen binds this."""

    @property
    def typed(self) -> str:
        """What stands in the field."""
        return str(self.ids.field.text)

    def on_text(self, _entry: Any, text: str) -> None:
        """Write into the field, but never under the hands of who types."""
        if not self.ids.field.focus:
            self.ids.field.text = text

    def clear(self) -> None:
        """Empty the field."""
        self.ids.field.text = ""


Builder.load_file(str(Path(__file__).with_suffix(".kv")))

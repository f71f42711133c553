"""Small parts: cards, pills, buttons, the two-way switch, the address field, the error banner."""

from __future__ import annotations

from pathlib import Path

from kivy.lang import Builder
from kivy.properties import BooleanProperty, ListProperty, StringProperty
from kivy.uix.behaviors import ButtonBehavior
from kivy.uix.boxlayout import BoxLayout
from kivy.uix.label import Label
from kivy.uix.textinput import TextInput
from kivy.uix.widget import Widget

from app.widgets.focus import Focusable

__all__ = [
    "AddressField",
    "Banner",
    "Card",
    "FlatButton",
    "Logo",
    "Pill",
    "SwitchOption",
    "ThemeButton",
]


class Card(BoxLayout):  # type: ignore[misc]  # kivy has no types
    """A surface with round corners."""


class Pill(Label):  # type: ignore[misc]  # kivy has no types
    """A short text on a tinted ground, with a dot in the same hue where it says a place."""

    ground = ListProperty([1, 1, 1, 1])
    dot = BooleanProperty(False)


class FlatButton(Focusable, ButtonBehavior, Label):  # type: ignore[misc]  # kivy has no types
    """A text that can be pressed."""

    ground = ListProperty([0, 0, 0, 0])


class SwitchOption(Focusable, ButtonBehavior, Label):  # type: ignore[misc]  # kivy has no types
    """One side of the switch; `chosen` is the side that is on."""

    chosen = BooleanProperty(False)


class AddressField(TextInput):  # type: ignore[misc]  # kivy has no types
    """One line for an address."""


class Logo(Widget):  # type: ignore[misc]  # kivy has no types
    """The mark: a network in two colours, its head here and its tail there."""


class ThemeButton(Focusable, ButtonBehavior, Widget):  # type: ignore[misc]  # kivy has no types
    """A disc half dark, half light."""


class Banner(BoxLayout):  # type: ignore[misc]  # kivy has no types
    """An error: what happened, what to do, and a way to take the text along."""

    what = StringProperty("")
    remedy = StringProperty("")
    __events__ = ("on_copy", "on_dismiss")

    def on_copy(self) -> None:
        """The text is wanted; the screen binds this."""

    def on_dismiss(self) -> None:
        """The error was read; the screen binds this."""


Builder.load_file(str(Path(__file__).with_suffix(".kv")))

"""Choices as chips: a row of values of which some are on, under the name of what they choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from kivy.lang import Builder
from kivy.properties import BooleanProperty, StringProperty
from kivy.uix.behaviors import ButtonBehavior
from kivy.uix.boxlayout import BoxLayout
from kivy.uix.label import Label

from app.widgets.focus import Focusable

__all__ = ["Chip", "ChipRow"]


class Chip(Focusable, ButtonBehavior, Label):  # type: ignore[misc]  # kivy has no types
    """One value; `chosen` is whether it is on."""

    chosen = BooleanProperty(False)


class ChipRow(BoxLayout):  # type: ignore[misc]  # kivy has no types
    """`title`, and chips that wrap; `show` says which there are, `press(value)` is told."""

    title = StringProperty("")

    def show(self, values: Sequence[tuple[str, str, bool]], press: Callable[[str], object]) -> None:
        """Draw (value, text, chosen) each; chips that are there already are kept."""
        flow = self.ids.flow
        chips = list(reversed(flow.children))
        if [chip.text for chip in chips] != [text for _, text, _ in values]:
            flow.clear_widgets()
            chips = [Chip(text=text) for _, text, _ in values]
            for chip, (value, _, _) in zip(chips, values, strict=True):
                chip.bind(on_release=lambda _chip, value=value: press(value))
                flow.add_widget(chip)
        for chip, (_, _, chosen) in zip(chips, values, strict=True):
            chip.chosen = chosen


Builder.load_file(str(Path(__file__).with_suffix(".kv")))

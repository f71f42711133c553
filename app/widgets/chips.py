"""Choices as chips: a row of values of which some are on, under the name of what they choose."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kivy.lang import Builder
from kivy.properties import BooleanProperty, StringProperty
from kivy.uix.behaviors import ButtonBehavior
from kivy.uix.boxlayout import BoxLayout
from kivy.uix.label import Label

from app.figures import shortened
from app.widgets.focus import Focusable
from app.widgets.gradual import Gradual

__all__ = ["Chip", "ChipRow"]


class Chip(Focusable, ButtonBehavior, Label):  # type: ignore[misc]  # kivy has no types
    """One value; `chosen` is whether it is on."""

    chosen = BooleanProperty(False)


class ChipRow(BoxLayout):  # type: ignore[misc]  # kivy has no types
    """`title`, and chips that wrap; `show` says which there are, `press(value)` is told."""

    title = StringProperty("")

    def __init__(self, **properties: Any) -> None:
        super().__init__(**properties)
        self._texts: list[str] = []
        self._chosen: list[bool] = []
        self._drawing = Gradual()

    def show(self, values: Sequence[tuple[str, str, bool]], press: Callable[[str], object]) -> None:
        """Draw (value, text, chosen) each; chips that are there already are kept,
        new ones come gradually."""
        flow = self.ids.flow
        texts = [text for _, text, _ in values]
        if self._texts != texts:
            self._texts = texts
            flow.clear_widgets()
            self._drawing.begin(self._made(values, press))
        self._chosen = [chosen for _, _, chosen in values]
        for chip, chosen in zip(reversed(flow.children), self._chosen, strict=False):
            chip.chosen = chosen

    def _made(
        self, values: Sequence[tuple[str, str, bool]], press: Callable[[str], object]
    ) -> Iterator[None]:
        for place, (value, text, _) in enumerate(values):
            chip = Chip(text=shortened(text), chosen=self._chosen[place])
            chip.bind(on_release=lambda _chip, value=value: press(value))
            self.ids.flow.add_widget(chip)
            yield


Builder.load_file(str(Path(__file__).with_suffix(".kv")))

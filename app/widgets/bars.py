"""Ranked classes as bars: label, probability, and a bar that grows to its length."""

from __future__ import annotations

from pathlib import Path

from kivy.animation import Animation
from kivy.lang import Builder
from kivy.properties import BooleanProperty, ListProperty, NumericProperty, StringProperty
from kivy.uix.boxlayout import BoxLayout

from app.figures import percent
from headtail.postprocess import Ranked

__all__ = ["BarList", "BarRow"]

Builder.load_file(str(Path(__file__).with_suffix(".kv")))
GROW_S = 0.25


class BarRow(BoxLayout):  # type: ignore[misc]  # kivy has no types
    """One class. `fraction` in [0, 1] is where the bar ends, `shown` where it is drawn now."""

    label = StringProperty("")
    value = StringProperty("")
    fraction = NumericProperty(0.0)
    shown = NumericProperty(0.0)
    leading = BooleanProperty(False)
    hue = ListProperty([0, 0, 0, 1])

    def on_fraction(self, _row: BarRow, fraction: float) -> None:
        """Grow or shrink to the new length."""
        Animation.cancel_all(self, "shown")
        Animation(shown=fraction, duration=GROW_S, transition="out_cubic").start(self)


class BarList(BoxLayout):  # type: ignore[misc]  # kivy has no types
    """The top classes, best first; rows without a class are left empty."""

    hue = ListProperty([0, 0, 0, 1])

    def show(self, ranked: tuple[Ranked, ...]) -> None:
        """Draw these classes; as many as there are rows."""
        rows = list(reversed(self.children))  # kivy keeps children last first
        for place, row in enumerate(rows):
            item = ranked[place] if place < len(ranked) else None
            row.label = item.label if item else ""
            row.value = percent(item.probability) if item else ""
            row.fraction = item.probability if item else 0.0

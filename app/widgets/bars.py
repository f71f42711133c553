"""Ranked classes as bars: label, probability or share, and a bar that is as long as that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kivy.animation import Animation
from kivy.lang import Builder
from kivy.properties import BooleanProperty, ListProperty, NumericProperty, StringProperty
from kivy.uix.boxlayout import BoxLayout

from app.figures import percent, shortened
from app.widgets import captions, shapes  # noqa: F401  # their names are used in the .kv
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

    def go_to(self, fraction: float, *, grow: bool) -> None:
        """Take the new length, at once or growing."""
        if self.fraction == fraction and grow:
            return
        Animation.cancel_all(self, "shown")
        self.fraction = fraction
        if grow:
            Animation(shown=fraction, duration=GROW_S, transition="out_cubic").start(self)
        else:
            self.shown = fraction


class BarList(BoxLayout):  # type: ignore[misc]  # kivy has no types
    """The top classes, best first; rows without a class are left empty."""

    def show(
        self, ranked: Sequence[Ranked], hues: Sequence[Sequence[float]], *, grow: bool
    ) -> None:
        """Draw these classes, as many as there are rows; `hues` are rgba, one for each.

        Bars `grow` to their length where an answer stands for a while; those of frames that follow
        each other jump.
        """
        rows = list(reversed(self.children))  # kivy keeps children last first
        for place, row in enumerate(rows):
            item = ranked[place] if place < len(ranked) else None
            row.label = shortened(item.label) if item else ""
            row.value = percent(item.probability) if item else ""
            row.opacity = 1 if item or not ranked else 0  # before an answer there are five places
            if item and row.hue != hues[place]:
                row.hue = hues[place]
            row.go_to(item.probability if item else 0.0, grow=grow)

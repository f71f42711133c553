"""Where the milliseconds went: one bar in two colours, this device and the server."""

from __future__ import annotations

from pathlib import Path

from kivy.lang import Builder
from kivy.properties import ListProperty, NumericProperty, StringProperty
from kivy.uix.boxlayout import BoxLayout

from app.widgets import shapes  # noqa: F401  # its names are used in the .kv

__all__ = ["Route"]

Builder.load_file(str(Path(__file__).with_suffix(".kv")))


class Route(BoxLayout):  # type: ignore[misc]  # kivy has no types
    """`share` in [0, 1] is the part of the time spent on this device."""

    share = NumericProperty(1.0)
    left = StringProperty("")
    right = StringProperty("")
    note = StringProperty("")
    left_hue = ListProperty([0, 0, 0, 1])
    right_hue = ListProperty([0, 0, 0, 1])

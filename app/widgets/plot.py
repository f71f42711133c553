"""Curves over the last seconds, with axes and units; drawn with instructions that are kept.

`show` moves vertices and, where a number changed, writes it; it makes no widget and no instruction.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from kivy.graphics import Color, Mesh
from kivy.lang import Builder
from kivy.metrics import dp
from kivy.properties import ListProperty, StringProperty
from kivy.uix.boxlayout import BoxLayout
from kivy.uix.widget import Widget

from app.offloading.curves import axis_end, ribbon
from app.widgets.shapes import across_line

__all__ = ["Curves", "Legend", "Plot"]

THICKNESS = 1.8  # dp
SIDES = ((0, 0.5), (1, 0.5), (1, 0.5), (0, 0.5))  # where a quad's corners lie across the curve


class Curves(Widget):  # type: ignore[misc]  # kivy has no types
    """The area between the axes; one mesh for each curve, made when its hue is set."""

    def __init__(self, **properties: Any) -> None:
        super().__init__(**properties)
        self._meshes: list[Mesh] = []
        self._colors: list[Color] = []
        self._shown: tuple[Any, Any, float] = (np.zeros(0), [], 1.0)
        self.bind(pos=self._draw, size=self._draw)

    def dye(self, hues: Sequence[Sequence[float]]) -> None:
        """One curve for each hue."""
        if len(self._colors) != len(hues):
            self.canvas.clear()
            self._meshes, self._colors = [], []
            with self.canvas:
                for _ in hues:
                    self._colors.append(Color())
                    self._meshes.append(Mesh(mode="triangles", texture=across_line(dp(THICKNESS))))
        for color, hue in zip(self._colors, hues, strict=True):
            color.rgba = hue

    def show(self, xs: Any, curves: Sequence[Any], top: float) -> None:
        """`xs` (n,) in [0, 1] from left to right; each curve (n,), NaN where there is none."""
        self._shown = (xs, curves, top)
        self._draw()

    def _draw(self, *_: object) -> None:
        xs, curves, top = self._shown
        for mesh, ys in zip(self._meshes, curves, strict=False):
            across = self.x + xs * self.width
            up = self.y + np.clip(ys / top, 0.0, 1.0) * self.height
            vertices, indices = ribbon(across, up, dp(THICKNESS) + 1)
            vertices.reshape(-1, 4)[:, 2:] = np.tile(SIDES, (len(vertices) // 16, 1))
            # kivy reads the first element of any buffer, also where there is none
            mesh.vertices, mesh.indices = (vertices, indices) if len(indices) else ([], [])


class Legend(BoxLayout):  # type: ignore[misc]  # kivy has no types
    """A dot in the curve's hue, its name and its newest value."""

    text = StringProperty("")
    hue = ListProperty([0, 0, 0, 1])


class Plot(BoxLayout):  # type: ignore[misc]  # kivy has no types
    """`names` and `hues` of the curves; `unit` of the values. The axes begin at zero."""

    title = StringProperty("")
    unit = StringProperty("")
    names = ListProperty([])
    hues = ListProperty([])
    top = StringProperty("")
    middle = StringProperty("")
    span = StringProperty("")

    def on_names(self, *_: object) -> None:
        """Make the legend."""
        self.ids.legend.clear_widgets()
        for name in self.names:
            self.ids.legend.add_widget(Legend(text=name))
        self._dye()

    def on_hues(self, *_: object) -> None:
        """Another theme."""
        self._dye()

    def show(self, seconds: Sequence[float], curves: Sequence[Sequence[float | None]]) -> None:
        """`seconds` (n,) when each value was measured, monotonic, rising; `curves` in the order of
        `names`, each (n,), None where nobody measured.
        """
        end = axis_end([value for curve in curves for value in curve])
        self.top, self.middle = f"{end:g}", f"{end / 2:g}"
        times = np.asarray(seconds, np.float64)
        lasted = float(times[-1] - times[0]) if len(times) > 1 else 0.0
        self.span = f"{lasted:.0f} s ago" if lasted else ""
        xs = (times - times[0]) / (lasted or 1.0) if len(times) else times
        arrays = [np.array([np.nan if v is None else v for v in c], np.float64) for c in curves]
        self.ids.curves.show(xs, arrays, end)
        legend = reversed(self.ids.legend.children)
        for entry, name, curve in zip(legend, self.names, curves, strict=True):
            newest = curve[-1] if curve else None
            known = "not measured" if newest is None else f"{_number(newest)} {self.unit}"
            entry.text = f"{name} {known}" if curve else name

    def _dye(self) -> None:
        if len(self.names) == len(self.hues):
            self.ids.curves.dye(self.hues)
            for entry, hue in zip(reversed(self.ids.legend.children), self.hues, strict=True):
                entry.hue = hue


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


Builder.load_file(str(Path(__file__).with_suffix(".kv")))

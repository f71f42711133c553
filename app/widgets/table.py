"""A table of measurements: columns where there is room, two lines per row where there is not.

A row is named at the left, has one figure that counts, a bar as long as that figure is large, and
further figures. Narrow, those stand in one line below the bar.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kivy.lang import Builder
from kivy.properties import BooleanProperty, NumericProperty, StringProperty
from kivy.uix.boxlayout import BoxLayout
from kivy.uix.label import Label

from app.figures import shortened
from app.widgets import controls  # noqa: F401  # its names are used in the .kv
from app.widgets.gradual import Gradual

__all__ = ["Cell", "Line", "Table", "TableHead", "TableRow"]


@dataclass(frozen=True)
class Line:
    """One row in words. `share` in [0, 1] is the length of its bar; `cells` are the further
    figures, as many as the table has columns; `detail` is what stands for them where it is narrow.

    `tone` is how `mark` is meant: `good`, `bad` or "".
    """

    name: str
    note: str
    figure: str
    share: float
    cells: tuple[str, ...]
    detail: str
    mark: str
    tone: str
    best: bool
    failed: bool


class Cell(Label):  # type: ignore[misc]  # kivy has no types
    """One further figure."""


class TableHead(BoxLayout):  # type: ignore[misc]  # kivy has no types
    """The names of the columns, of a wide table."""

    name = StringProperty("")
    figure = StringProperty("")

    def show(self, columns: Sequence[str]) -> None:
        """Name the further columns."""
        _fill(self.ids.cells, columns)


class TableRow(BoxLayout):  # type: ignore[misc]  # kivy has no types
    """See `Line`, of which the properties are the fields."""

    wide = BooleanProperty(False)
    name = StringProperty("")
    note = StringProperty("")
    figure = StringProperty("")
    share = NumericProperty(0.0)
    detail = StringProperty("")
    mark = StringProperty("")
    tone = StringProperty("")
    best = BooleanProperty(False)
    failed = BooleanProperty(False)

    line: Line | None = None

    def show(self, line: Line) -> None:
        """Draw `line`, unless it is drawn already."""
        if line == self.line:
            return
        self.line = line
        self.name, self.note = shortened(line.name), shortened(line.note)
        for name in ("figure", "share", "detail", "mark", "tone", "best", "failed"):
            setattr(self, name, getattr(line, name))
        _fill(self.ids.cells, line.cells if self.wide else ())


class Table(BoxLayout):  # type: ignore[misc]  # kivy has no types
    """`wide` is whether there is room for the columns."""

    wide = BooleanProperty(False)

    def __init__(self, **properties: Any) -> None:
        super().__init__(**properties)
        self._columns: tuple[str, ...] = ()
        self._titles = ("", "")
        self._lines: tuple[Line, ...] = ()
        self._drawing = Gradual()
        self.bind(wide=lambda *_: self._build())

    def entitle(self, name: str, figure: str, columns: Sequence[str]) -> None:
        """Name the columns: the rows' names, the figure that counts, and the further ones."""
        self._titles, self._columns = (name, figure), tuple(columns)
        self._build()

    def show(self, lines: Sequence[Line]) -> None:
        """Draw these rows; those that are as they were are left alone, new ones come gradually."""
        self._lines = tuple(lines)
        rows = self._rows()
        for row, line in zip(rows, self._lines, strict=False):
            row.show(line)
        for row in rows[len(self._lines) :]:
            self.remove_widget(row)
        self._drawing.begin(self._missing())

    def _rows(self) -> list[TableRow]:
        return [child for child in reversed(self.children) if isinstance(child, TableRow)]

    def _build(self) -> None:
        self.clear_widgets()
        if self.wide:
            head = TableHead(name=self._titles[0], figure=self._titles[1])
            head.show(self._columns)
            self.add_widget(head)
        self._drawing.begin(self._missing())

    def _missing(self) -> Iterator[None]:
        while len(rows := self._rows()) < len(self._lines):
            row = TableRow(wide=self.wide)
            row.show(self._lines[len(rows)])
            self.add_widget(row)
            yield


def _fill(box: Any, texts: Sequence[str]) -> None:
    cells = list(reversed(box.children))
    if len(cells) != len(texts):
        box.clear_widgets()
        cells = [Cell() for _ in texts]
        for cell in cells:
            box.add_widget(cell)
    for cell, text in zip(cells, texts, strict=True):
        cell.text = text


Builder.load_file(str(Path(__file__).with_suffix(".kv")))

"""The Report page: what was found on this device, in sections; save it, share it, copy it.

`ReportPresenter` decides; this draws its states and passes gestures on.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kivy.core.clipboard import Clipboard
from kivy.lang import Builder
from kivy.properties import BooleanProperty, StringProperty
from kivy.uix.boxlayout import BoxLayout

from app.application import Application
from app.figures import shortened
from app.report.contents import Section
from app.report.presenter import Phase, ReportState
from app.screens.page import Page
from app.widgets import controls, table  # noqa: F401  # their names are used in the .kv
from app.widgets.gradual import Gradual

__all__ = ["Fact", "ReportScreen", "SectionCard"]


MOST = 1000  # letters of a fact that are drawn; the file has them all
MEASURED = ("Benchmark", "Live", "Offload")  # at the right where there are two columns


class Fact(BoxLayout):  # type: ignore[misc]  # kivy has no types
    """A name at the left, what it is at the right; long ones wrap."""

    name = StringProperty("")
    value = StringProperty("")

    def __init__(self, name: str, value: str) -> None:
        super().__init__(name=shortened(name), value=shortened(value, most=MOST))


class SectionCard(controls.Card):
    """One section of the report."""

    title = StringProperty("")

    def show(self, section: Section) -> Iterator[None]:
        """Draw it, one line a step."""
        self.title = section.title
        for name, value in section.facts:
            self.ids.body.add_widget(Fact(name=name, value=value))
            yield
        for row in section.rows:
            named = zip(section.headings[1:], row[1:], strict=True)
            # a figure needs its name, words speak for themselves
            parts = (f"{name} {value}" if value[:1].isdigit() else value for name, value in named)
            rest = "  \u00b7  ".join(part for part in parts if part)
            self.ids.body.add_widget(Fact(name=row[0], value=rest))
            yield


class ReportScreen(Page):
    """See the module docstring; the properties are what `report.kv` draws."""

    told = StringProperty("")
    ready = BooleanProperty(False)
    empty = BooleanProperty(True)
    failed = BooleanProperty(False)

    def __init__(self, application: Application, **properties: Any) -> None:
        super().__init__(**properties)
        self._presenter = application.report
        self._drawn: tuple[Section, ...] = ()
        self._drawing = Gradual()
        self.watch(self._presenter, self.show)

    def enter(self) -> None:
        """Look at everything again."""
        self._presenter.gather()

    def show(self, state: ReportState) -> None:
        """Draw `state`."""
        self.told = "Writing" if state.phase is Phase.SAVING else state.told
        self.ready = state.phase is Phase.READY
        self.empty = not state.sections
        self.failed = state.problem is not None
        if state.problem is not None:
            self.ids.banner.what = state.problem.what
            self.ids.banner.remedy = state.problem.remedy
        if state.sections != self._drawn:
            self._drawn = state.sections
            self._drawing.begin(self._draw(state.sections))

    def save(self) -> None:
        """Save was pressed."""
        self._presenter.save()

    def share(self) -> None:
        """Share was pressed."""
        self._presenter.share(Clipboard.copy)

    def copy(self) -> None:
        """Copy was pressed."""
        Clipboard.copy(self._presenter.text())
        self._presenter.copied()

    def copy_problem(self) -> None:
        """The error's full text to the clipboard."""
        problem = self._presenter.state.problem
        if problem is not None:
            Clipboard.copy(problem.full_text)

    def dismiss_problem(self) -> None:
        """The error was read."""
        self._presenter.dismiss()

    def _draw(self, sections: tuple[Section, ...]) -> Iterator[None]:
        columns = (self.ids.left, self.ids.right)
        for column in columns:
            column.clear_widgets()
        for section in sections:
            card = SectionCard()
            columns[section.title in MEASURED].add_widget(card)
            yield from card.show(section)


Builder.load_file(str(Path(__file__).with_suffix(".kv")))

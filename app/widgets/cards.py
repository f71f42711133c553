"""Cards of models: tags, artifacts, progress and buttons; the bar of used room; the question before
something is deleted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kivy.lang import Builder
from kivy.properties import (
    BooleanProperty,
    NumericProperty,
    ObjectProperty,
    StringProperty,
)
from kivy.uix.boxlayout import BoxLayout
from kivy.uix.label import Label
from kivy.uix.modalview import ModalView
from kivy.uix.widget import Widget

from app.figures import shortened
from app.models.views import CALM, Button, CardView, Chip
from app.widgets.controls import FlatButton

__all__ = [
    "ArtifactLine",
    "CardButton",
    "ConfirmDialog",
    "ModelCard",
    "Notice",
    "ShareBar",
    "Tag",
]

PROSE = 1000  # letters of what is said of a model


class Tag(Label):  # type: ignore[misc]  # kivy has no types
    """A word or two on a tinted ground."""

    hue = StringProperty(CALM)


class ArtifactLine(BoxLayout):  # type: ignore[misc]  # kivy has no types
    """One artifact: format and precision, its figures, and where it runs or why it does not."""

    title = StringProperty("")
    detail = StringProperty("")
    note = StringProperty("")
    chosen = BooleanProperty(False)


class CardButton(FlatButton):
    """A button in a hue of the theme; `button` is what it stands for."""

    hue = StringProperty(CALM)
    button = ObjectProperty(None, allownone=True)


class ShareBar(Widget):  # type: ignore[misc]  # kivy has no types
    """A track of which `share` in [0, 1] is filled."""

    share = NumericProperty(0.0)
    hue = StringProperty("device")


class Notice(BoxLayout):  # type: ignore[misc]  # kivy has no types
    """What stands where there is nothing yet: a title, what to do, and a button if there is one."""

    title = StringProperty("")
    text = StringProperty("")
    label = StringProperty("")
    __events__ = ("on_press_button",)

    def on_press_button(self) -> None:
        """The button was pressed; the screen binds this."""


class ModelCard(BoxLayout):  # type: ignore[misc]  # kivy has no types
    """Draws a `CardView`; `pressed(button)` is called for its buttons."""

    title = StringProperty("")
    subtitle = StringProperty("")
    summary = StringProperty("")
    progress = StringProperty("")
    share = NumericProperty(-1.0)  # below 0: no bar
    what = StringProperty("")
    remedy = StringProperty("")

    def __init__(self, pressed: Callable[[Button], None], **properties: Any) -> None:
        super().__init__(**properties)
        self._pressed = pressed
        self._view: CardView | None = None

    def show(self, view: CardView) -> None:
        """Draw it; only what changed is made again."""
        former, self._view = self._view, view
        self.title, self.subtitle = shortened(view.title), shortened(view.subtitle)
        self.summary = shortened(view.summary, most=PROSE)
        self.progress = view.progress
        self.share = -1.0 if view.share is None else view.share
        self.what = view.problem.what if view.problem else ""
        self.remedy = view.problem.remedy if view.problem else ""
        if former is None or former.chips != view.chips:
            self._fill(self.ids.chips, [_tag(chip) for chip in view.chips])
        if former is None or former.kinds != view.kinds:
            self._fill(self.ids.kinds, [_tag(chip) for chip in view.kinds])
        if former is None or former.rows != view.rows:
            lines = [
                ArtifactLine(title=r.title, detail=r.detail, note=r.note, chosen=r.chosen)
                for r in view.rows
            ]
            self._fill(self.ids.rows, lines)
        if former is None or former.buttons != view.buttons:
            self._fill(self.ids.buttons, [self._button(button) for button in view.buttons])

    def _button(self, button: Button) -> CardButton:
        made = CardButton(text=button.label, hue=button.hue, button=button)
        made.bind(on_release=lambda *_: self._pressed(button))
        return made

    @staticmethod
    def _fill(place: Any, widgets: list[Any]) -> None:
        place.clear_widgets()
        for widget in widgets:
            place.add_widget(widget)


def _tag(chip: Chip) -> Tag:
    return Tag(text=shortened(chip.text), hue=chip.hue)


class ConfirmDialog(ModalView):  # type: ignore[misc]  # kivy has no types
    """A question over the page. Back, Escape and a touch beside it mean no; `answered(yes)`."""

    title = StringProperty("")
    text = StringProperty("")
    label = StringProperty("Delete")

    def __init__(self, answered: Callable[[bool], None], **properties: Any) -> None:
        super().__init__(**properties)
        self._answered = answered
        self._yes = False

    def confirm(self) -> None:
        """Yes."""
        self._yes = True
        self.dismiss()

    def on_dismiss(self) -> None:
        """Closed, however."""
        self._answered(self._yes)


Builder.load_file(str(Path(__file__).with_suffix(".kv")))

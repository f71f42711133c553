"""The scanner's card on the Settings page: the camera's picture, and what came of it."""

from __future__ import annotations

from pathlib import Path

from kivy.lang import Builder
from kivy.properties import BooleanProperty, StringProperty

from app.scanning.presenter import ScanPresenter
from app.scanning.state import ScanState
from app.widgets import forms, photo  # noqa: F401  # their names are used in the .kv
from app.widgets.controls import Card

__all__ = ["ScanCard"]


class ScanCard(Card):
    """Draws `ScanState`, sends gestures to `presenter`."""

    wide = BooleanProperty(False)
    hint = StringProperty("")
    note = StringProperty("")
    trouble = StringProperty("")
    remedy = StringProperty("")
    can_pick = BooleanProperty(False)
    blind = BooleanProperty(False)

    def __init__(self, presenter: ScanPresenter) -> None:
        self.presenter = presenter
        super().__init__()

    def show(self, state: ScanState) -> None:
        """Draw `state`."""
        trouble = state.unable or state.obstacle
        self.trouble = trouble.what if trouble else ""
        self.remedy = trouble.remedy if trouble else ""
        self.blind = trouble is not None
        self.hint = state.hint
        self.note = f"Reading {state.reading} ..." if state.reading else state.note
        self.can_pick = state.can_pick and state.unable is None
        self.ids.view.picture = state.picture


Builder.load_file(str(Path(__file__).with_suffix(".kv")))

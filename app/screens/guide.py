"""The guide's card: it stands under the page that it leads to and covers nothing of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kivy.lang import Builder
from kivy.properties import BooleanProperty, NumericProperty, StringProperty
from kivy.uix.boxlayout import BoxLayout

from app.guide.presenter import GuidePresenter
from app.guide.state import STEPS, GuideState
from app.widgets import forms  # noqa: F401  # its names are used in the .kv

__all__ = ["GuideCard"]


class GuideCard(BoxLayout):  # type: ignore[misc]  # kivy has no types
    """Draws `GuideState`, sends gestures to `presenter`; without height while closed."""

    shown = BooleanProperty(False)
    step = NumericProperty(0)
    steps = NumericProperty(len(STEPS))
    title = StringProperty("")
    text = StringProperty("")
    done = BooleanProperty(False)
    scans = BooleanProperty(False)

    def __init__(self, presenter: GuidePresenter, **properties: Any) -> None:
        self.presenter = presenter
        super().__init__(**properties)
        self._end = presenter.subscribe(self.show)

    def close(self) -> None:
        """Listen no more."""
        self._end()

    def on_touch_down(self, touch: Any) -> Any:
        """Closed, its buttons are still where they were and must not catch what is below them."""
        return super().on_touch_down(touch) if self.shown else False

    def show(self, state: GuideState) -> None:
        """Draw `state`."""
        self.shown = state.step is not None
        self.disabled = not self.shown  # so that the keyboard does not reach what is not seen
        if state.step is not None:
            step = STEPS[state.step]
            self.step, self.done = state.step, state.done[state.step]
            self.title, self.text = step.title, step.text.format(device=state.device)
            self.scans = step.scans


Builder.load_file(str(Path(__file__).with_suffix(".kv")))

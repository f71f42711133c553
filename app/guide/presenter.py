"""Leads through the pages at the first start: each step shows the page on which it is done."""

from __future__ import annotations

from dataclasses import replace

from app.guide.state import STEPS, GuideState
from app.pages import Navigation
from app.presenter import Presenter
from app.settings.preferences import PreferenceStore

__all__ = ["GuidePresenter"]


class GuidePresenter(Presenter[GuideState]):
    """Shown once; `preferences.guide_done` remembers that."""

    def __init__(
        self, preferences: PreferenceStore, navigation: Navigation, *, device: str
    ) -> None:
        super().__init__(GuideState(device))
        self._preferences = preferences
        self._navigation = navigation
        preferences.subscribe(lambda chosen: self._tick(1, done=bool(chosen.server)))

    def begin(self) -> None:
        """The app started: open the guide if it was never shown."""
        if not self._preferences.state.guide_done:
            self.open()

    def open(self) -> None:
        """From the first step on, whether or not it was shown before."""
        self._go(0)

    def advance(self) -> None:
        """To the next step; after the last one the guide closes."""
        if self.state.step is not None:
            self._go(self.state.step + 1)

    def back(self) -> bool:
        """To the step before, from the first one out of the guide; False if it is closed."""
        if self.state.step is None:
            return False
        self._go(self.state.step - 1)
        return True

    def skip(self) -> None:
        """Close it for good."""
        self._close()

    def see(self, *, bundle: bool, answer: bool) -> None:
        """Whether a bundle is open and whether a frame was answered."""
        self._tick(0, done=bundle)
        self._tick(2, done=answer)

    def _go(self, step: int) -> None:
        if 0 <= step < len(STEPS):
            self._show(replace(self.state, step=step))
            self._navigation.go(STEPS[step].page)
        else:
            self._close()

    def _close(self) -> None:
        self._show(replace(self.state, step=None))
        self._preferences.change(guide_done=True)

    def _tick(self, step: int, *, done: bool) -> None:
        if self.state.done[step] != done:
            ticks = (*self.state.done[:step], done, *self.state.done[step + 1 :])
            self._show(replace(self.state, done=ticks))

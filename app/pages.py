"""Which page is shown, and what the back button leads to."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from app.presenter import Presenter

__all__ = ["Navigation", "PageName", "Shown"]


class PageName(enum.Enum):
    """The pages, in the order of the navigation bar; the value is what a person reads there."""

    LIVE = "Live"
    MODELS = "Models"
    OFFLOAD = "Offload"
    BENCHMARK = "Benchmark"
    REPORT = "Report"
    SETTINGS = "Settings"


@dataclass(frozen=True)
class Shown:
    """`page` is on screen; `former` are those that back leads to, the last one first."""

    page: PageName = PageName.LIVE
    former: tuple[PageName, ...] = ()


class Navigation(Presenter[Shown]):
    """Live is where everything begins and where back ends."""

    def __init__(self) -> None:
        super().__init__(Shown())

    def go(self, page: PageName) -> None:
        """Show `page`."""
        if page is not self.state.page:
            # a page is come back to once, however often it was left
            former = tuple(p for p in (self.state.page, *self.state.former) if p is not page)
            unique = tuple(dict.fromkeys(former))
            self._show(Shown(page, unique))

    def back(self) -> bool:
        """Show the page before this one; False if there is none, so that the app may close."""
        if not self.state.former:
            return False
        page, *former = self.state.former
        self._show(Shown(page, tuple(former)))
        return True

"""The frame around the pages: a bar of six places, below on a phone, at the left on a tablet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kivy.core.window import Window
from kivy.lang import Builder
from kivy.metrics import dp
from kivy.properties import BooleanProperty, ListProperty, StringProperty
from kivy.uix.behaviors import ButtonBehavior
from kivy.uix.boxlayout import BoxLayout
from kivy.uix.floatlayout import FloatLayout

from app.application import Application
from app.pages import PageName, Shown
from app.screens.guide import GuideCard
from app.screens.page import WIDE_FROM
from app.widgets import icons  # noqa: F401  # its names are used in the .kv
from app.widgets.focus import Focusable, unfocus

__all__ = ["PAGES", "Place", "Shell"]


def _live(application: Application) -> Any:
    from app.screens.live import LiveScreen

    return LiveScreen(application)


def _models(application: Application) -> Any:
    from app.screens.models import ModelsScreen

    return ModelsScreen(application)


def _benchmark(application: Application) -> Any:
    from app.screens.benchmark import BenchmarkScreen

    return BenchmarkScreen(application)


def _report(application: Application) -> Any:
    from app.screens.report import ReportScreen

    return ReportScreen(application)


def _offload(application: Application) -> Any:
    from app.screens.offload import OffloadScreen

    return OffloadScreen(application)


def _settings(application: Application) -> Any:
    from app.screens.settings import SettingsScreen

    return SettingsScreen(application)


PAGES: dict[PageName, Callable[[Application], Any]] = {  # how each page is built, when first shown
    PageName.LIVE: _live,
    PageName.MODELS: _models,
    PageName.OFFLOAD: _offload,
    PageName.BENCHMARK: _benchmark,
    PageName.REPORT: _report,
    PageName.SETTINGS: _settings,
}


class Place(Focusable, ButtonBehavior, BoxLayout):  # type: ignore[misc]  # kivy has no types
    """One place of the bar: icon and name; `chosen` is the page on screen."""

    name = StringProperty("")
    chosen = BooleanProperty(False)


class Shell(FloatLayout):  # type: ignore[misc]  # kivy has no types
    """`wide` is whether the bar stands at the left; `ground` is the colour behind everything."""

    wide = BooleanProperty(False)
    ground = ListProperty([0, 0, 0, 1])

    def __init__(self, application: Application, **properties: Any) -> None:
        super().__init__(**properties)
        self._application = application
        self._pages: dict[PageName, Any] = {}
        self.page: Any = None
        for name in PAGES:
            place = Place(name=name.value)
            place.bind(on_release=lambda _place, name=name: application.navigation.go(name))
            self.ids.places.add_widget(place)
        self._guide = GuideCard(application.guide)
        self._guide.bind(shown=self._place_guide)
        self._place_guide(self._guide, self._guide.shown)
        self.bind(width=self._fold)
        self._end = application.navigation.subscribe(self._show)

    def close(self) -> None:
        """Take no more part; the pages are dropped."""
        self._end()
        self._guide.close()
        self.page.leave()
        for page in self._pages.values():
            page.close()

    def on_ground(self, _shell: Shell, ground: list[float]) -> None:
        """The window is cleared with it: a rectangle would paint every pixel once more."""
        Window.clearcolor = ground

    def _place_guide(self, guide: GuideCard, shown: bool) -> None:
        # closed it has no height, but what cannot be seen is painted all the same
        if shown:
            self.ids.frame.add_widget(guide)
        else:
            self.ids.frame.remove_widget(guide)

    def _fold(self, *_: object) -> None:
        self.wide = self.width >= dp(WIDE_FROM)

    def _show(self, shown: Shown) -> None:
        for place in self.ids.places.children:
            place.chosen = place.name == shown.page.value
        page = self._pages.get(shown.page)
        if page is None:
            page = self._pages[shown.page] = PAGES[shown.page](self._application)
        if self.page is not None and self.page is not page:
            unfocus(self.page)  # or Tab would go on where nobody sees it
            self.page.leave()
        self.ids.body.clear_widgets()
        self.ids.body.add_widget(page)
        self.page = page
        page.enter()


Builder.load_file(str(Path(__file__).with_suffix(".kv")))

"""The frame around the pages: a bar of six places, below on a phone, at the left on a tablet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kivy.clock import Clock
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

AHEAD_S = 0.5  # between pages that are made before anybody asks


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
        self._ahead = Clock.schedule_interval(self._build_ahead, AHEAD_S)

    def close(self) -> None:
        """Take no more part; the pages are dropped."""
        self._end()
        self._ahead.cancel()
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
        page = self._built(shown.page)
        if self.page is not None and self.page is not page:
            unfocus(self.page)  # or Tab would go on where nobody sees it
            self.page.leave()
            self.page.hide()
        self.ids.body.clear_widgets()
        self.ids.body.add_widget(page)
        self.page = page
        page.reveal()
        page.enter()

    def _built(self, name: PageName) -> Any:
        if name not in self._pages:
            self._pages[name] = PAGES[name](self._application)
        return self._pages[name]

    def _build_ahead(self, _dt: float) -> bool:
        """Make a page that was not seen yet while nothing moves; False when there is none left."""
        missing = [name for name in PAGES if name not in self._pages]
        live = self._application.live.state
        if missing and not live.busy and not (live.moving and live.playing):
            page = self._built(missing[0])
            page.pos, page.size = self.ids.body.pos, self.ids.body.size
            page.hide()
        return bool(missing)


Builder.load_file(str(Path(__file__).with_suffix(".kv")))

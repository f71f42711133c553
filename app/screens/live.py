"""The one screen of this version: photo, where it ran, top five, milliseconds.

`show(state)` draws a `LiveState`; gestures go to the controller. Nothing is decided here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kivy.core.clipboard import Clipboard
from kivy.lang import Builder
from kivy.metrics import dp
from kivy.properties import BooleanProperty, ListProperty, ObjectProperty, StringProperty
from kivy.uix.floatlayout import FloatLayout
from kivy.utils import get_color_from_hex

from app.figures import milliseconds
from app.live import wording
from app.live.presenter import LivePresenter
from app.live.state import LiveState, Mode, PhotoCard, Place, Result
from app.problems import Problem
from app.theme import LIGHT
from app.widgets import bars, controls, photo, route  # noqa: F401  # their names are used in the .kv

__all__ = ["LiveScreen"]

WIDE_FROM = 720  # window width in dp from which two columns are used


class LiveScreen(FloatLayout):  # type: ignore[misc]  # kivy has no types
    """See the module docstring; the properties are what `classify.kv` draws."""

    theme = ObjectProperty(LIGHT, rebind=True)  # set in the .kv
    wide = BooleanProperty(False)
    title = StringProperty("")
    subtitle = StringProperty("")
    headline = StringProperty("")
    hint = StringProperty("")
    badge = StringProperty("")
    latency = StringProperty("")
    device = StringProperty("")
    offload = BooleanProperty(False)
    asked = BooleanProperty(False)
    failed = BooleanProperty(False)
    hue = ListProperty([0, 0, 0, 1])
    tint = ListProperty([1, 1, 1, 1])

    def __init__(self, controller: LivePresenter, **properties: Any) -> None:
        self._controller = controller
        self._state = controller.state
        super().__init__(**properties)
        self.bind(width=lambda *_: self._fold())
        self.bind(theme=lambda *_: self.show(self._state))
        controller.subscribe(self.show)

    def enter(self) -> None:
        """The page is shown."""

    def leave(self) -> None:
        """Another page takes its place."""

    def show(self, state: LiveState) -> None:
        """Draw `state`."""
        if state.server != self._state.server:  # a pairing code gives way to its server's address
            self.ids.server.text = state.server
        self._state = state
        self.title = state.bundle.name if state.bundle else "Headtail"
        self.subtitle = wording.subtitle(state.bundle)
        self.headline, self.hint = wording.headline(state), wording.hint(state)
        self.device = state.device
        self.asked = state.bundle_path is not None
        self.offload = state.mode is Mode.OFFLOAD
        self._show_result(state, state.result)
        self._show_photos(state)
        self._show_problem(state.problem)

    def choose_mode(self, *, offload: bool) -> None:
        """The switch was pressed."""
        self._controller.set_mode(Mode.OFFLOAD if offload else Mode.LOCAL)

    def use_server(self, address: str) -> None:
        """An address was entered."""
        self._controller.set_server(address)

    def run_again(self) -> None:
        """The photo was pressed."""
        if self._state.chosen is not None:
            self._controller.choose(self._state.chosen)

    def copy_problem(self) -> None:
        """The error's full text to the clipboard."""
        if self._state.problem is not None:
            Clipboard.copy(self._state.problem.full_text)

    def dismiss_problem(self) -> None:
        """The error was read."""
        self._controller.dismiss()

    def _fold(self) -> None:
        self.wide = self.width >= dp(WIDE_FROM)

    def _show_result(self, state: LiveState, result: Result | None) -> None:
        place = result.place if result else Place.DEVICE
        hue, tint = {
            Place.DEVICE: (self.theme.device, self.theme.tint_device),
            Place.SPLIT: (self.theme.server, self.theme.tint_server),
            Place.FALLBACK: (self.theme.warning, self.theme.tint_warning),
        }[place]
        self.hue, self.tint = get_color_from_hex(hue), get_color_from_hex(tint)
        self.badge = result.badge if result else ""
        self.ids.bars.show(result.ranked if result else ())
        self.latency = milliseconds(result.total_ms) if result else ""
        if state.busy and state.chosen is not None:
            self.latency = "running"
        self._show_route(state, result)

    def _show_route(self, state: LiveState, result: Result | None) -> None:
        line = self.ids.route
        line.left_hue = get_color_from_hex(
            self.theme.warning if result and result.place is Place.FALLBACK else self.theme.device
        )
        line.right_hue = get_color_from_hex(self.theme.server)
        line.left, line.right = wording.route_ends(state, result) if result else ("", "")
        line.note = wording.route_note(state, result) if result else ""
        line.share = wording.device_share(result) if result else 1.0

    def _show_photos(self, state: LiveState) -> None:
        self.ids.photo.picture = state.preview
        strip = self.ids.strip
        shown = list(reversed(strip.children))
        if [thumb.photo for thumb in shown] != [card.photo for card in state.photos]:
            strip.clear_widgets()
            shown = [self._thumbnail(card) for card in state.photos]
            for thumb in shown:
                strip.add_widget(thumb)
        for thumb, card in zip(shown, state.photos, strict=True):
            thumb.picture = card.thumbnail
            thumb.chosen = card.photo is state.chosen

    def _thumbnail(self, card: PhotoCard) -> photo.Thumbnail:
        thumb = photo.Thumbnail(photo=card.photo)
        thumb.bind(on_release=lambda *_: self._controller.choose(card.photo))
        return thumb

    def _show_problem(self, problem: Problem | None) -> None:
        self.failed = problem is not None
        if problem is not None:
            self.ids.banner.what, self.ids.banner.remedy = problem.what, problem.remedy


Builder.load_file(str(Path(__file__).with_suffix(".kv")))

"""The Live page: the frame with what was found in it, where it ran, the best five, how fast.

`show(state)` draws a `LiveState`; gestures go to the presenter. Nothing is decided here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kivy.clock import Clock
from kivy.core.clipboard import Clipboard
from kivy.lang import Builder
from kivy.properties import BooleanProperty, ListProperty, ObjectProperty, StringProperty
from kivy.uix.behaviors import ButtonBehavior
from kivy.uix.boxlayout import BoxLayout
from kivy.utils import get_color_from_hex

from app.application import Application
from app.figures import shortened
from app.live import wording
from app.live.palette import class_colour
from app.live.state import LiveState, PhotoCard, Place, Result, SourceKind
from app.pages import PageName
from app.problems import Problem
from app.screens.page import Page
from app.theme import LIGHT
from app.widgets import bars, controls, overlay, photo, route  # noqa: F401  # used in the .kv
from app.widgets.focus import Focusable
from headtail.postprocess import Mask, Ranking

__all__ = ["LiveScreen", "SourceOption"]


FAINT = 0.6  # opacity of the bars below the first
CALM_S = 0.25  # between figures of what moves: nobody reads them faster


class SourceOption(Focusable, ButtonBehavior, BoxLayout):  # type: ignore[misc]  # kivy has no types
    """One place where frames come from; `chosen` is the one in use."""

    name = StringProperty("")
    icon = StringProperty("")
    chosen = BooleanProperty(False)


class LiveScreen(Page):
    """See the module docstring; the properties are what `live.kv` draws."""

    theme = ObjectProperty(LIGHT, rebind=True)  # set in the .kv
    title = StringProperty("")
    subtitle = StringProperty("")
    headline = StringProperty("")
    hint = StringProperty("")
    badge = StringProperty("")
    pace = StringProperty("")
    how = StringProperty("")
    device = StringProperty("")
    source = StringProperty("")
    mode = StringProperty("off")
    asked = BooleanProperty(False)
    failed = BooleanProperty(False)
    blocked = BooleanProperty(False)
    moving = BooleanProperty(False)
    can_pause = BooleanProperty(False)
    playing = BooleanProperty(True)
    can_pick = BooleanProperty(False)
    needs_server = BooleanProperty(False)
    fills = BooleanProperty(True)
    hue = ListProperty([0, 0, 0, 1])
    tint = ListProperty([1, 1, 1, 1])

    def __init__(self, application: Application, **properties: Any) -> None:
        self._application = application
        self._live = application.live
        self._state = application.live.state
        self._told: Result | None = None  # whose figures are shown
        self._figures = Clock.create_trigger(lambda _dt: self._show_figures(), CALM_S)
        super().__init__(**properties)
        self.bind(theme=lambda *_: self.show(self._state))
        self.watch(self._live, self.show)

    def enter(self) -> None:
        """The page is shown."""
        self._live.enter()

    def leave(self) -> None:
        """Another page takes its place."""
        self._live.leave()

    def show(self, state: LiveState) -> None:
        """Draw `state`."""
        self._state = state
        card, result = state.bundle, state.result
        self.title = shortened(card.name) if card else "Headtail"
        self.subtitle, self.how = wording.subtitle(card), wording.how(card)
        self.headline, self.hint = wording.headline(state), wording.hint(state)
        self.device, self.mode = state.device, state.choices.mode
        self.asked = state.bundle_path is not None
        self.blocked = state.obstacle is not None
        self.moving, self.playing = state.moving, state.playing
        self.can_pause = state.moving and not self.blocked and not state.held
        self.can_pick = state.can_pick
        self.needs_server = state.choices.mode != "off" and not state.choices.server
        self.fills = card is None or card.task == "classification"
        self.source = state.source.value
        self._show_result(state, result)
        self._show_photos(state)
        self._show_problem(state.problem)

    def choose_source(self, name: str) -> None:
        """A source was pressed."""
        self._live.choose_source(SourceKind(name))

    def set_mode(self, mode: str) -> None:
        """A side of the switch was pressed."""
        self._live.set_mode(mode)

    def press_frame(self) -> None:
        """The frame was pressed: the photo is answered again."""
        if not self._state.moving and self._state.chosen is not None:
            self._live.choose(self._state.chosen)

    def toggle_play(self) -> None:
        """Pause or go on."""
        self._live.play(playing=not self._state.playing)

    def retry(self) -> None:
        """Try the source again."""
        self._live.choose_source(self._state.source)

    def pick_photo(self) -> None:
        """The system's photos are wanted."""
        self._live.pick_photo()

    def set_up_server(self) -> None:
        """Servers are entered on the settings page."""
        self._application.navigation.go(PageName.SETTINGS)

    def copy_problem(self) -> None:
        """The error's full text to the clipboard."""
        if self._state.problem is not None:
            Clipboard.copy(self._state.problem.full_text)

    def dismiss_problem(self) -> None:
        """The error was read."""
        self._live.dismiss()

    def _show_result(self, state: LiveState, result: Result | None) -> None:
        place = result.place if result else Place.DEVICE
        hue, tint = {
            Place.DEVICE: (self.theme.device, self.theme.tint_device),
            Place.SPLIT: (self.theme.server, self.theme.tint_server),
            Place.FALLBACK: (self.theme.warning, self.theme.tint_warning),
        }[place]
        self.hue, self.tint = get_color_from_hex(hue), get_color_from_hex(tint)
        self.badge = result.badge if result else ""
        self._show_bars(state, result)
        self.ids.overlay.show(result)
        if state.moving and state.playing and not state.held and _same_place(self._told, result):
            self._figures()  # where it ran and what was seen is shown at once, how fast soon
        else:
            self._show_figures()

    def _show_figures(self) -> None:
        self._figures.cancel()
        state = self._state
        self._told = state.result
        self.pace = wording.pace(state)
        self._show_route(state, state.result)

    def _show_bars(self, state: LiveState, result: Result | None) -> None:
        seen = result.seen if result else Ranking(())
        ranked = seen.ranked
        if isinstance(seen, Ranking):
            hues = [[*self.hue[:3], 1 if place == 0 else FAINT] for place in range(len(ranked))]
        else:  # the bars are the legend
            hues = [[*class_colour(item.index), 1] for item in ranked]
        if isinstance(seen, Mask):
            unpainted = get_color_from_hex(self.theme.outline)
            for place, segment in enumerate(seen.segments):
                hues[place] = unpainted if segment.background else hues[place]
        self.ids.bars.show(ranked, hues, grow=not state.moving)

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
        self.ids.photo.picture = state.picture
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
        thumb.bind(on_release=lambda *_: self._live.choose(card.photo))
        return thumb

    def _show_problem(self, problem: Problem | None) -> None:
        self.failed = problem is not None
        if problem is not None:
            self.ids.banner.what, self.ids.banner.remedy = problem.what, problem.remedy


def _same_place(one: Result | None, other: Result | None) -> bool:
    if one is None or other is None:
        return False
    return (one.place, one.badge) == (other.place, other.badge)


Builder.load_file(str(Path(__file__).with_suffix(".kv")))

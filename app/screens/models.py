"""The Models page: what is on this device, and what the server offers; nothing is decided here."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kivy.clock import Clock
from kivy.core.clipboard import Clipboard
from kivy.core.window import Window
from kivy.lang import Builder
from kivy.properties import BooleanProperty, NumericProperty, StringProperty

from app.application import Application
from app.models import notices, wording
from app.models.state import ModelsState, Reach
from app.models.views import Button, CardView
from app.pages import PageName
from app.screens.page import Page
from app.widgets import cards

__all__ = ["ModelsScreen"]


class ModelsScreen(Page):
    """The properties are what `models.kv` draws."""

    counted = StringProperty("")
    device = StringProperty("")
    storage = StringProperty("")
    share = NumericProperty(0.0)
    busy = StringProperty("")
    failed = BooleanProperty(False)
    server = StringProperty("")

    def __init__(self, application: Application, **properties: Any) -> None:
        self._application = application
        self._models = application.models
        self._dialog: cards.ConfirmDialog | None = None
        self._made = False  # a card, in this frame
        self._more = Clock.create_trigger(lambda _dt: self.show(self._models.state))
        self._verbs: dict[str, Callable[[str], None]] = {
            "open": lambda path: self._models.open(Path(path)),
            "verify": lambda path: self._models.verify(Path(path)),
            "ask_delete": lambda path: self._models.ask_delete(Path(path)),
            "repair": lambda path: self._models.repair(Path(path)),
            "download": self._models.download,
            "pause": self._models.pause,
            "cancel": self._models.cancel,
            "discard": lambda path: self._models.discard(Path(path)),
            "copy": Clipboard.copy,
            "toggle": self._models.toggle,
        }
        super().__init__(**properties)
        self.watch(self._models, self.show)

    def enter(self) -> None:
        """The page is shown: what is dropped on the window now is installed."""
        Window.bind(on_drop_file=self._dropped)
        self._models.enter()

    def leave(self) -> None:
        """Another page takes its place."""
        Window.unbind(on_drop_file=self._dropped)
        self._models.leave()

    def show(self, state: ModelsState) -> None:
        """Draw `state`."""
        self._made = False
        self.storage = notices.storage_line(state)
        self.counted = notices.counted_line(state)
        self.device = f"On {state.device}"
        self.share = state.used / state.quota if state.quota else 0.0
        self.busy = state.busy
        self.server = notices.server_line(state.catalogue, state.now_s)
        self.failed = state.problem is not None
        if state.problem is not None:
            self.ids.banner.what, self.ids.banner.remedy = state.problem.what, state.problem.remedy
        self._fill(self.ids.device, wording.device_views(state), notices.device_notice(state))
        offers = wording.catalogue_views(state)
        self._fill(self.ids.offers, offers, notices.catalogue_notice(state))
        self.ids.again.lost = state.catalogue.reach is Reach.LOST
        self._ask(state)

    def refresh(self) -> None:
        """Look again."""
        self._models.refresh()

    def copy_problem(self) -> None:
        """The error's full text to the clipboard."""
        if self._models.state.problem is not None:
            Clipboard.copy(self._models.state.problem.full_text)

    def dismiss_problem(self) -> None:
        """The error was read."""
        self._models.dismiss()

    def _press(self, button: Button) -> None:
        self._verbs[button.verb](button.subject)

    def _fill(
        self, place: Any, views: Sequence[CardView], notice: tuple[str, str, str] | None
    ) -> None:
        """Cards are kept by their keys, so that a press is not lost to a card made again; one new
        card is made in a frame, since making it takes a good part of that."""
        there = [card for card in reversed(place.children) if isinstance(card, _KeyedCard)]
        known = {card.key: card for card in there}
        wanted: list[_KeyedCard] = []
        for view in views:
            card = known.get(view.key)
            if card is None and self._made:
                self._more()
                break
            if card is None:
                card, self._made = _KeyedCard(view.key, self._press), True
            card.show(view)
            wanted.append(card)
        if there != wanted[: len(there)]:
            place.clear_widgets()
            there = []
        for card in wanted[len(there) :]:
            place.add_widget(card)
        self._notice(place, notice)

    def _notice(self, place: Any, notice: tuple[str, str, str] | None) -> None:
        there = [child for child in place.children if isinstance(child, cards.Notice)]
        if notice is None:
            for child in there:
                place.remove_widget(child)
            return
        if not there:
            made = cards.Notice()
            made.bind(on_press_button=lambda *_: self._go_to_settings())
            place.add_widget(made, index=len(place.children))  # on top
            there = [made]
        there[0].title, there[0].text, there[0].label = notice

    def _go_to_settings(self) -> None:
        self._application.navigation.go(PageName.SETTINGS)

    def _ask(self, state: ModelsState) -> None:
        card = state.card(state.asked) if state.asked else None
        if card is None or self._dialog is not None:
            if card is None and self._dialog is not None:
                self._dialog.dismiss(animation=False)
            return
        title, text = notices.question(card)
        self._dialog = cards.ConfirmDialog(self._answer, title=title, text=text)
        self._dialog.open(animation=False)

    def _answer(self, yes: bool) -> None:
        if self._dialog is not None:
            self._dialog = None
            self._models.answer(delete=yes)

    def _dropped(self, _window: Any, name: bytes, *_place: Any) -> bool:
        path = Path(os.fsdecode(name))
        if not path.is_dir() and path.suffix.lower() != ".zip":
            return False
        self._models.install(path)
        return True  # the app's own answer to a drop would open it instead


class _KeyedCard(cards.ModelCard):
    """A card that knows what it is of."""

    def __init__(self, key: str, pressed: Callable[[Button], None]) -> None:
        super().__init__(pressed)
        self.key = key


Builder.load_file(str(Path(__file__).with_suffix(".kv")))

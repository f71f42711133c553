"""The kivy application: window, theme, and the wires between screen and controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kivy.app import App
from kivy.clock import Clock
from kivy.core.window import Window
from kivy.properties import ObjectProperty
from kivy.utils import platform

from app.controller import Controller
from app.photos import folder_photos
from app.platforms import find_platform
from app.screens.classify import ClassifyScreen
from app.state import Mode, ScreenState
from app.theme import DARK, LIGHT
from headtail.errors import HeadtailError

__all__ = ["HeadtailApp"]


class HeadtailApp(App):  # type: ignore[misc]  # kivy has no types
    """`theme` is what every rule in the .kv files draws with."""

    title = "Headtail"
    theme = ObjectProperty(LIGHT, rebind=True)

    def __init__(
        self, *, bundle: Path | None, server: str, photos: Path | None, **properties: Any
    ) -> None:
        super().__init__(**properties)
        self._bundle = bundle
        self._server = server
        self._photos = photos
        machine = find_platform(platform)
        self.controller = Controller(
            machine.runtimes(),
            device=machine.device,
            paired=Path(self.user_data_dir) / "servers.json",
            hand_over=lambda call: Clock.schedule_once(lambda _dt: call()),
            listen=self._listen,
        )

    def build(self) -> ClassifyScreen:
        """Make the screen."""
        screen = ClassifyScreen(self.controller, theme=self.theme)
        self.bind(theme=screen.setter("theme"))
        Window.bind(on_drop_file=self._dropped)
        return screen

    def on_start(self) -> None:
        """Open what the command line named."""
        if self._server:
            self.root.ids.server.text = self._server
            self.controller.set_server(self._server)
            self.controller.set_mode(Mode.OFFLOAD)
        if self._photos is not None:
            try:
                self.controller.add_photos(folder_photos(self._photos))
            except HeadtailError as error:
                self.controller.fail(error)
        if self._bundle is not None:
            self.controller.open_bundle(self._bundle)

    def on_stop(self) -> None:
        """Stop the threads."""
        self.controller.close()

    def on_pause(self) -> bool:
        """Android may take the window away for a while; nothing has to be undone."""
        return True

    def toggle_theme(self) -> None:
        """Light to dark and back."""
        self.theme = DARK if self.theme is LIGHT else LIGHT

    def _listen(self, state: ScreenState) -> None:
        if self.root is not None:
            self.root.show(state)

    def _dropped(self, _window: Any, name: bytes, *_place: Any) -> None:
        self.controller.drop(Path(name.decode()))

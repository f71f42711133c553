"""The kivy application: window, theme, and the wires between pages and presenters."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kivy.app import App
from kivy.base import EventLoop
from kivy.clock import Clock
from kivy.metrics import Metrics
from kivy.properties import ObjectProperty
from kivy.uix.floatlayout import FloatLayout
from kivy.utils import platform

from app.application import Application
from app.platforms import find_platform
from app.screens.shell import Shell
from app.servers import is_code
from app.settings.preferences import Preferences
from app.settings.state import SettingsState
from app.sources.photo import folder_photos
from app.theme import DARK, LIGHT
from app.widgets.focus import focus_first
from headtail.errors import HeadtailError

__all__ = ["HeadtailApp"]

LARGE = 1.3  # times the usual size of letters
TAB = 9
ESCAPE = 27  # the key code of Escape, which Android's back button sends as well


class HeadtailApp(App):  # type: ignore[misc]  # kivy has no types
    """`theme` is what every rule in the .kv files draws with.

    `folder` is where the app keeps what is its own, kivy's `user_data_dir` if None.
    """

    title = "Headtail"
    theme = ObjectProperty(LIGHT, rebind=True)

    def __init__(
        self,
        *,
        bundle: Path | None,
        server: str,
        photos: Path | None,
        replay: Path | None = None,
        folder: Path | None = None,
        **properties: Any,
    ) -> None:
        super().__init__(**properties)
        self._bundle = bundle
        self._server = server
        self._photos = photos
        self._replay = replay
        self._letters = Metrics.fontscale
        self._shell: Shell | None = None
        self.application = Application(
            folder or self._own_folder(),
            platform=find_platform(platform),
            hand_over=lambda call: Clock.schedule_once(lambda _dt: call()),
        )
        self.application.preferences.subscribe(self._prefer)
        self.application.settings.subscribe(self._dress)

    def build(self) -> FloatLayout:
        """Make the window's content."""
        EventLoop.ensure_window()  # not imported: `app.widgets` says first how it is to be made
        EventLoop.window.bind(on_drop_file=self._dropped, on_keyboard=self._key)
        # a phone's letters must not hide what is typed
        EventLoop.window.softinput_mode = "below_target"
        content = FloatLayout()
        self._furnish(content)
        return content

    @property
    def shell(self) -> Shell:
        """The frame that is on screen."""
        assert self._shell is not None  # made by build, before anything is shown
        return self._shell

    def on_start(self) -> None:
        """Open what the command line named."""
        live = self.application.live
        former = self.application.preferences.state.bundle  # read before another takes its place
        if platform == "android":
            from app.servers.links_android import follow_links

            follow_links(self._linked)
            for runtime in self.application.platform.runtimes():
                runtime.probe()  # Java finds the app's classes on this thread alone, and keeps them
        self._use_server(opens=self._bundle is not None or bool(former))
        if self._photos is not None:
            try:
                live.add_photos(folder_photos(self._photos))
            except HeadtailError as error:
                live.fail(error)
        if self._replay is not None:
            live.replay(self._replay)
        if self._bundle is not None:
            self.application.open_bundle(self._bundle)
            return
        if former and Path(former).exists():
            live.open_bundle(Path(former))
        self.application.guide.begin()

    def _use_server(self, *, opens: bool) -> None:
        """Use the server of the command line, whether or not it `opens` a bundle."""
        if is_code(self._server) and not opens:
            self.application.add_server(self._server)  # with nothing to run, nobody else pairs
        elif self._server:
            self.application.preferences.change(server=self._server, mode="force")

    def on_stop(self) -> None:
        """Stop the threads."""
        self.application.close()

    def on_pause(self) -> bool:
        """Android may take the window away for a while: the camera is given back until then."""
        self.application.live.leave()
        self.application.scanning.leave()
        return True

    def on_resume(self) -> None:
        """The window is back; the system may be dark by now."""
        self.application.settings.ask_theme()
        self.shell.page.enter()

    def toggle_theme(self) -> None:
        """Light to dark and back."""
        self.application.preferences.change(theme="dark" if self.theme is LIGHT else "light")

    def _own_folder(self) -> Path:
        if platform == "linux":  # there kivy makes only the last part of the path
            config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
            config.mkdir(parents=True, exist_ok=True)
        return Path(self.user_data_dir)

    def _dress(self, _state: SettingsState) -> None:
        self.theme = DARK if self.application.settings.theme() == "dark" else LIGHT

    def _prefer(self, preferences: Preferences) -> None:
        letters = self._letters * (LARGE if preferences.large_text else 1.0)
        if letters != Metrics.fontscale:
            # sizes in sp are computed when a widget is made, so all of them are made again
            Metrics.fontscale = letters
            if self.root is not None:
                self._furnish(self.root)

    def _furnish(self, content: FloatLayout) -> None:
        if self._shell is not None:
            self._shell.close()
        content.clear_widgets()
        self._shell = Shell(self.application)
        content.add_widget(self._shell)

    def _key(self, _window: Any, key: int, *_rest: Any) -> bool:
        if key == TAB:  # nothing has the focus yet, or this would not have come here
            return focus_first(self.shell.page)
        return key == ESCAPE and (
            self.application.scanning.back()
            or self.application.guide.back()
            or self.application.navigation.back()
        )

    def _dropped(self, _window: Any, name: bytes, *_place: Any) -> None:
        text = os.fsdecode(name)  # of a file whose name is no UTF-8 as well
        if is_code(text):  # SDL hands an opened link over like this on iOS
            self.application.open_link(text)
        # on Android it drops the path of a link, and a pairing link has none
        elif text and not self.application.scanning.drop(Path(text)):
            self.application.live.drop(Path(text))

    def _linked(self, link: str) -> None:
        # Android tells it on a thread of its own
        Clock.schedule_once(lambda _dt: self.application.open_link(link))

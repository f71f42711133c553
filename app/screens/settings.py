"""The Settings screen: server, this device, appearance, what leaves it, and what it is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kivy.core.clipboard import Clipboard
from kivy.lang import Builder
from kivy.properties import BooleanProperty, ObjectProperty, StringProperty
from kivy.uix.boxlayout import BoxLayout

from app.application import Application
from app.scanning.state import ScanState
from app.screens.page import Page
from app.screens.scan import ScanCard
from app.servers import Server
from app.settings.about import Part
from app.settings.leaving import sentences
from app.settings.presenter import ADDING, PAIRING
from app.settings.state import SettingsState
from app.widgets import forms  # noqa: F401  # its names are used in the .kv
from app.widgets.controls import Banner, Card
from app.widgets.focus import unfocus
from app.widgets.forms import FactRow, Prose
from app.widgets.gradual import Gradual

__all__ = ["SettingsScreen"]

THEMES = {"light": "Light", "dark": "Dark", "system": "As the system"}
ACCELERATORS = {"cpu": "CPU", "gpu": "GPU", "npu": "NPU"}


class ServerRow(BoxLayout):  # type: ignore[misc]  # kivy has no types
    """One known server; below it its `details` where `opened`."""

    address = StringProperty("")
    name = StringProperty("")
    detail = StringProperty("")
    chosen = BooleanProperty(False)
    opened = BooleanProperty(False)
    details = ObjectProperty(None, allownone=True)


class ServerDetails(BoxLayout):  # type: ignore[misc]  # kivy has no types
    """A server's name and key, and what can be done with it."""

    address = StringProperty("")
    name = StringProperty("")
    pin = StringProperty("")


class LinkQuestion(Card):
    """A code came by a link: pair with that server?"""

    url = StringProperty("")
    pin = StringProperty("")


class SettingsScreen(Page):
    """Draws `SettingsState`, sends gestures to `application.settings`."""

    def __init__(self, application: Application, **properties: Any) -> None:
        self.presenter = application.settings
        self.application = application
        self._drawn: dict[str, Any] = {}
        self._adding = False
        self._parts = Gradual()
        self._scan = ScanCard(application.scanning)
        super().__init__(**properties)
        self._scan.wide = self.wide
        self.bind(wide=self._scan.setter("wide"))
        self.watch(self.presenter, self.show)
        self.watch(application.scanning, self.show_scan)

    def enter(self) -> None:
        """The page is shown."""
        self.presenter.enter()
        self.application.scanning.enter()

    def leave(self) -> None:
        """Another page takes its place: the camera is not wanted there."""
        self.application.scanning.close()

    def show(self, state: SettingsState) -> None:
        """Draw `state`."""
        self._show_servers(state)
        self._show_device(state)
        self._show_fields(state)
        leaving = sentences(state.preferences, device=state.device, sent=state.sent)
        self._fill("leaving", leaving, lambda text: Prose(text=text))
        self._show_notices(state)

    def show_scan(self, state: ScanState) -> None:
        """Draw what the scanner sees, and the scanner itself only while it is open."""
        self._scan.show(state)
        self.ids.scan.disabled = state.opened
        self._show_notices(self.presenter.state)

    def copy_problem(self) -> None:
        """The error's full text to the clipboard."""
        if self.presenter.state.problem is not None:
            Clipboard.copy(self.presenter.state.problem.full_text)

    def add_server(self) -> None:
        """The button beside the field, or Enter in it."""
        self.presenter.add_server(self.ids.server.typed)

    def _show_notices(self, state: SettingsState) -> None:
        notices = (state.problem, state.offered, self.application.scanning.state.opened)
        if self._drawn.get("notices") != notices:
            self._drawn["notices"] = notices
            unfocus(self._scan)
            self.announce(*self._notices_of(state))

    def _notices_of(self, state: SettingsState) -> Iterator[Any]:
        if state.problem is not None:
            banner = Banner(what=state.problem.what, remedy=state.problem.remedy)
            banner.bind(on_copy=lambda _banner: self.copy_problem())
            banner.bind(on_dismiss=lambda _banner: self.presenter.dismiss())
            yield banner
        if state.offered is not None:
            yield LinkQuestion(url=state.offered.url, pin=state.offered.pin or "")
        if self.application.scanning.state.opened:
            yield self._scan

    def _show_servers(self, state: SettingsState) -> None:
        none = Server("", "No server: all is computed here", None, has_key=False)
        servers = (none, *state.servers)
        # the rows stay while only what is written in them changes: somebody may be typing there
        rows = tuple((s.address, s.address == state.opened != "") for s in servers)
        self._fill("servers", rows, self._server_row)
        for row, server in zip(reversed(self.ids.servers.children), servers, strict=True):
            row.name, row.detail = server.name, _detail(server)
            row.chosen = server.address == state.preferences.server
            if row.details is not None:
                row.details.name = "" if server.name == server.address else server.name
                row.details.pin = server.pin or ""
                row.details.ids.key.complaint = state.complaints.key
        self.ids.note.text = f"{state.busy} ..." if state.busy else state.note
        if self._adding and not state.busy and state.problem is None:
            self.ids.server.clear()
        self._adding = state.busy in (ADDING, PAIRING)

    def _server_row(self, place: tuple[str, bool]) -> Any:
        address, opened = place
        row = ServerRow(address=address, opened=opened)
        if opened:
            row.details = ServerDetails(address=address)
            row.add_widget(row.details)
        return row

    def _show_device(self, state: SettingsState) -> None:
        chosen, offered = state.preferences, state.accelerators
        names = offered.names if offered else (chosen.accelerator,)
        options = [[name, ACCELERATORS.get(name, name)] for name in names]
        self.ids.accelerator.options, self.ids.accelerator.value = options, chosen.accelerator
        reasons = offered.reasons if offered else ("Asking the runtimes of this machine ...",)
        self._fill("reasons", reasons, lambda text: Prose(text=text))
        self.ids.threads.most = max(state.cores, chosen.threads)
        self.ids.threads.value = chosen.threads
        self.ids.theme.options = [[name, THEMES[name]] for name in state.themes]
        self.ids.theme.value = chosen.theme
        self.ids.large.on = chosen.large_text
        self._show_parts(state.about or ())

    def _show_parts(self, parts: Sequence[Part]) -> None:
        if self._drawn.get("about") != parts:
            self._drawn["about"] = parts
            self.ids.about.clear_widgets()
            self._parts.begin(self._rows_of(parts))

    def _rows_of(self, parts: Sequence[Part]) -> Iterator[None]:
        for part in parts:
            value = f"{part.version}  \u00b7  {part.licence}"
            self.ids.about.add_widget(FactRow(name=part.name, value=value))
            yield

    def _show_fields(self, state: SettingsState) -> None:
        complaints = state.complaints
        self.ids.server.complaint = complaints.server
        self.ids.quota.complaint = complaints.quota
        self.ids.deadline.complaint = complaints.deadline
        if not complaints.quota:
            self.ids.quota.text = str(state.preferences.quota_mb)
        if not complaints.deadline:
            self.ids.deadline.text = f"{state.preferences.deadline_ms:.0f}"

    def _fill(self, place: str, rows: Any, make: Any) -> None:
        """Make the rows of a place anew if they are others than were drawn."""
        if self._drawn.get(place) == rows:
            return
        self._drawn[place] = rows
        unfocus(self.ids[place])
        self.ids[place].clear_widgets()
        for row in rows:
            self.ids[place].add_widget(make(row))


def _detail(server: Server) -> str:
    """The line under a server's name."""
    if not server.address:
        return ""
    where = "" if server.name == server.address else f"{server.address}  \u00b7  "
    if server.pin is not None:
        return f"{where}paired, known by its certificate"
    return f"{where}{'with a key' if server.has_key else 'without a key'}"


Builder.load_file(str(Path(__file__).with_suffix(".kv")))

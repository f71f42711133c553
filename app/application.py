"""The app without its window: every part, made once and wired to the others.

Nothing here knows kivy. The kivy side gives `hand_over` and draws what the presenters show.
"""

from __future__ import annotations

from pathlib import Path

from app.benchmark.bench import Bench
from app.benchmark.presenter import BenchmarkPresenter
from app.benchmark.records import Records
from app.ending import ENDS_S, close_all
from app.guide.presenter import GuidePresenter
from app.live.presenter import LivePresenter
from app.live.state import LiveState
from app.machine import find_machine, platform_name
from app.models.presenter import ModelsPresenter, Viewer
from app.offloading.export import TraceExport
from app.offloading.presenter import OffloadingPresenter
from app.pages import Navigation, PageName
from app.platforms import Platform
from app.presenter import HandOver
from app.report.presenter import ReportPresenter, Seen
from app.report.sharing import find_sharing
from app.scanning.presenter import ScanPresenter
from app.servers import Servers
from app.settings.preferences import PreferenceStore
from app.settings.presenter import SettingsPresenter
from app.settings.system_theme import system_theme

__all__ = ["Application"]


class Application:
    """`folder` is the app's own: preferences, pairings, installed bundles and reports are in it."""

    def __init__(self, folder: Path, *, platform: Platform, hand_over: HandOver) -> None:
        self.folder = folder
        self.platform = platform
        self.navigation = Navigation()
        self.preferences = PreferenceStore(folder / "preferences.json")
        self.guide = GuidePresenter(self.preferences, self.navigation, device=platform.device)
        self.servers = Servers(folder / "servers.json")
        self.settings = SettingsPresenter(
            self.preferences,
            self.servers,
            runtimes=platform.runtimes,
            device=platform.device,
            system_theme=lambda: system_theme(platform_name()),
            hand_over=hand_over,
        )
        self.scanning = ScanPresenter(platform, found=self.open_link, hand_over=hand_over)
        self.live = LivePresenter(platform, self.preferences, self.servers, hand_over=hand_over)
        self.offloading = OffloadingPresenter(
            self.preferences,
            trace=self.live.trace,
            exports=TraceExport(
                folder / "traces", sharing=find_sharing(platform_name()), secrets=self._secrets
            ),
            device=platform.device,
            hand_over=hand_over,
        )
        self.models = ModelsPresenter(
            folder,
            platform=platform,
            preferences=self.preferences,
            servers=self.servers,
            hand_over=hand_over,
            viewer=Viewer(self.open_bundle, self.live.close_bundle),
        )
        self.live.subscribe(self._follow)
        machine = find_machine(platform_name())
        self.benchmark = BenchmarkPresenter(
            Bench(platform.runtimes, machine),
            Records(folder / "benchmarks"),
            bundles=self.bundles,
            live=self.live,
            hand_over=hand_over,
        )
        self.report = ReportPresenter(
            folder / "reports",
            (machine, platform.runtimes),
            seen=self._seen,
            secrets=self._secrets,
            sharing=find_sharing(platform_name()),
            hand_over=hand_over,
        )

    def _follow(self, state: LiveState) -> None:
        """What the other pages show of what is live."""
        self.models.set_open(state.bundle_path)
        self.guide.see(bundle=state.bundle is not None, answer=state.result is not None)
        self.offloading.follow(state)
        self.settings.follow(state.result)

    def bundles(self) -> list[Path]:
        """What can be measured: the bundle that is open, and those that are installed."""
        opened = self.live.state.bundle_path
        installed = [card.path for card in self.models.state.installed or ()]
        return list(dict.fromkeys([*([] if opened is None else [opened]), *installed]))

    def open_bundle(self, path: Path) -> None:
        """Open a bundle and show what it sees."""
        self.live.open_bundle(path)
        self.navigation.go(PageName.LIVE)

    def add_server(self, server: str) -> None:
        """Pair by a code or take an address, where a person sees what comes of it."""
        self.settings.add_server(server)
        self.navigation.go(PageName.SETTINGS)

    def open_link(self, link: str) -> None:
        """A pairing link was opened: the Settings page asks whether to pair."""
        self.settings.receive_link(link)
        self.navigation.go(PageName.SETTINGS)

    def scan(self) -> None:
        """Look for a server's pairing code, on the Settings page."""
        self.navigation.go(PageName.SETTINGS)
        self.scanning.open()

    def close(self, *, timeout_s: float = ENDS_S) -> bool:
        """Stop every thread; False if one was still at work after so many seconds."""
        pages = (self.offloading, self.settings, self.models, self.benchmark, self.report)
        parts = [*(page.close for page in pages), self.scanning.shut, self.live.close]
        return close_all(parts, timeout_s=timeout_s)

    def _seen(self) -> Seen:
        trace = self.live.trace()
        text = (lambda: "") if trace is None else trace.text
        return Seen(self.live.state, self.offloading.state, self.benchmark.last, text)

    def _secrets(self) -> list[str]:
        """What no report may hold: addresses, names and fingerprints of servers."""
        known = self.servers.known()
        told = [text for server in known for text in (server.address, server.name, server.pin)]
        return [text for text in (self.preferences.state.server, *told) if text]

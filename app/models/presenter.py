"""Behind the Models page: gestures in, states out. Every method runs on the UI thread.

Three threads stand behind it: one reads and writes the folder of bundles, one downloads, one asks
the server for its list while the page is shown. What they find comes back through `hand_over`.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

from app.ending import ENDS_S, close_all
from app.figures import drawable
from app.models.downloads import Downloads, Ended, Progress
from app.models.following import Following
from app.models.lane import Lane
from app.models.library import Library
from app.models.shelves import Looked, installed_cards, look, resumable, unfinished_of
from app.models.state import Check, Download, ModelsState, Phase
from app.models.viewer import Viewer
from app.platforms import Platform
from app.presenter import HandOver, Presenter
from app.problems import Problem, problem_of
from app.servers import Servers
from app.settings.preferences import Preferences, PreferenceStore
from headtail.errors import HeadtailError, UnknownName

__all__ = ["ModelsPresenter", "Viewer"]

MB = 1_000_000
ON_DISK = (Phase.PAUSED, Phase.ELSEWHERE)  # downloads of which the folder knows all


class ModelsPresenter(Presenter[ModelsState]):
    """`folder` is the app's own, of which `models` holds the bundles."""

    def __init__(
        self,
        folder: Path,
        *,
        platform: Platform,
        preferences: PreferenceStore,
        servers: Servers,
        hand_over: HandOver,
        viewer: Viewer,
    ) -> None:
        super().__init__(ModelsState(device=platform.device, now_s=time.time()))
        self._library = Library(folder / "models")
        self._platform = platform
        self._hand_over = hand_over
        self._viewer = viewer
        self._opened: Path | None = None
        self._looked: Looked | None = None
        self._looks = 0  # that have not come back yet
        self._checks: dict[Path, tuple[Check, Problem | None]] = {}
        self._cancelled: set[str] = set()
        self._shown = False
        self._files = Lane("models", hand_over=hand_over, failed=self.fail)
        self._downloads = Downloads(
            self._library,
            servers.companion,
            lambda event: hand_over(lambda: self._take_progress(event)),
        )
        self._server = Following(
            servers.companion,
            folder / "catalogue.json",
            hand_over=hand_over,
            changed=self._listed,
        )
        self._end = preferences.subscribe(self._prefer)
        self._look()

    def enter(self) -> None:
        """The page is shown: the server is followed, and what is installed is verified once."""
        self._shown = True
        self._server.look(looking=True)
        self._verify_all()

    def leave(self) -> None:
        """The page is left: nobody is asked any more. Downloads go on."""
        self._shown = False
        self._server.look(looking=False)
        self._render(asked=None)

    def refresh(self) -> None:
        """Look at the folder again and ask the server at once."""
        self._look()
        self._server.ask_again()

    def set_open(self, path: Path | None) -> None:
        """The bundle that is open now."""
        if path != self._opened:
            self._opened = path
            self._render()

    def open(self, path: Path) -> None:
        """Show what a bundle sees."""
        self._viewer.open(path)

    def verify(self, path: Path) -> None:
        """Compare every byte of an installed bundle with its manifest."""
        self._checks[path] = Check.CHECKING, None
        self._render()
        self._files.submit(lambda: self._verify(path))

    def install(self, source: Path) -> None:
        """Check and copy a bundle's folder or `.zip`."""
        self._render(busy=f"Checking and copying {drawable(source.name)}", problem=None)
        quota = self.state.quota
        self._files.submit(lambda: self._installed(self._library.install(source, quota=quota)))

    def ask_delete(self, path: Path) -> None:
        """Ask whether the bundle at `path` shall be deleted."""
        if self.state.card(path) is not None:
            self._render(asked=path)

    def answer(self, *, delete: bool) -> None:
        """The answer to that; a bundle that is open is closed first."""
        path = self.state.asked
        self._render(asked=None)
        if delete and path is not None:
            if path == self._opened:
                self._viewer.close()
            self._delete(path)

    def repair(self, path: Path) -> None:
        """Replace a damaged bundle by the server's; nothing happens if that has none."""
        card = self.state.card(path)
        if card is not None and self._server.offer(card.bundle_id) is not None:
            self._delete(path, then=lambda: self.download(card.bundle_id))

    def download(self, bundle_id: str) -> None:
        """Download a bundle of the list, or go on with it."""
        offer = self._server.offer(bundle_id)
        if offer is None:
            names = (offer.bundle_id for offer in self._server.card.offers)
            self.fail(UnknownName("bundle of the server's list", bundle_id, names))
            return
        now = self.state.downloads.get(bundle_id) or Download(bundle_id, offer.name, offer.bytes)
        self._cancelled.discard(bundle_id)  # it was thought better of
        self._put(dataclasses.replace(now, phase=Phase.WAITING, problem=None))
        self._downloads.start(offer, self._server.card.server, quota=self.state.quota)

    def pause(self, bundle_id: str) -> None:
        """Stop a download; what has come is kept."""
        self._downloads.stop(bundle_id)

    def cancel(self, bundle_id: str) -> None:
        """Give a download up, running or not: what has come is thrown away."""
        if not self._downloads.stop(bundle_id):
            self._given_up(bundle_id)
        else:
            self._cancelled.add(bundle_id)

    def discard(self, part: Path) -> None:
        """Throw away what an unfinished download has got."""
        if part in {card.path for card in self.state.unfinished if not card.busy}:
            self._delete(part)

    def toggle(self, key: str) -> None:
        """Show a card in full, or in short again."""
        self._render(expanded=self.state.expanded ^ {key})

    def fail(self, error: Exception) -> None:
        """Show an error."""
        self._render(problem=problem_of(error), busy="")

    def dismiss(self) -> None:
        """Put the error away."""
        self._render(problem=None)

    def close(self, *, timeout_s: float = ENDS_S) -> bool:
        """Stop every thread; False if one was still at work after so many seconds."""
        end, self._end = self._end, lambda: None  # kivy says twice that an app ends
        end()
        parts = (self._downloads.close, self._server.close, self._files.close)
        return close_all(parts, timeout_s=timeout_s)

    # on the folder's thread

    def _look(self) -> None:
        def work() -> None:
            looked: Looked | None = None
            try:
                looked = look(self._library, self._platform.runtimes())
            finally:
                self._hand_over(lambda: self._saw(looked))

        self._looks += 1
        self._render()
        self._files.submit(work)

    def _verify(self, path: Path) -> None:
        found: tuple[Check, Problem | None] = Check.VERIFIED, None
        try:
            self._library.verify(path)
        except (HeadtailError, OSError) as error:
            found = Check.DAMAGED, problem_of(error)
        self._hand_over(lambda: self._checked(path, found))

    def _delete(self, path: Path, *, then: Callable[[], None] = lambda: None) -> None:
        def gone() -> None:
            self._render(busy="")
            self._look()
            then()

        def work() -> None:
            self._library.delete(path)
            self._hand_over(gone)

        self._render(busy="Deleting", problem=None)
        self._files.submit(work)

    def _installed(self, path: Path) -> None:
        def show() -> None:
            self._checks[path] = Check.VERIFIED, None
            self._render(busy="")
            self._look()

        self._hand_over(show)

    # what came of it, on the UI thread again

    def _saw(self, looked: Looked | None) -> None:
        self._looks -= 1
        if looked is not None:
            now = {found.path: found.stamp for found in looked.shelf.found}
            then = {f.path: f.stamp for f in self._looked.shelf.found} if self._looked else {}
            unchanged = {path for path, stamp in now.items() if then.get(path, stamp) == stamp}
            self._checks = {path: c for path, c in self._checks.items() if path in unchanged}
            self._looked = looked
        self._listed()
        self._verify_all()

    def _verify_all(self) -> None:
        """Once in the app's life, and when somebody looks: it reads every byte."""
        for found in self._looked.shelf.found if self._looked and self._shown else ():
            if found.path not in self._checks and found.fault is None:
                self.verify(found.path)

    def _checked(self, path: Path, found: tuple[Check, Problem | None]) -> None:
        self._checks[path] = found
        self._render()

    def _prefer(self, preferences: Preferences) -> None:
        self._render(quota=preferences.quota_mb * MB)
        self._server.use(preferences.server)

    def _listed(self) -> None:
        """List or folder are new: what is half here and offered can be gone on with."""
        if self._looked is not None:
            found = resumable(self._looked, self._server.card, self._library)
            own = {key: d for key, d in self.state.downloads.items() if d.phase not in ON_DISK}
            self._render(downloads={**found, **own})
        else:
            self._render()

    def _take_progress(self, event: Progress | Ended) -> None:
        now = self.state.downloads.get(event.bundle_id)
        if isinstance(event, Progress):
            if now is not None:
                phase = Phase.INSTALLING if event.held >= event.size else Phase.RUNNING
                now = dataclasses.replace(now, mbit_s=event.mbit_s, remaining_s=event.remaining_s)
                self._put(dataclasses.replace(now, phase=phase, held=event.held))
            return
        if event.path is None and self._downloads.runs(event.bundle_id):
            return  # it was stopped, and is wanted again by now
        cancelled = event.bundle_id in self._cancelled
        self._cancelled.discard(event.bundle_id)
        if event.path is not None:
            self._checks[event.path] = Check.VERIFIED, None
            self._drop(event.bundle_id)
        elif cancelled:
            self._given_up(event.bundle_id)
        elif now is not None:
            problem = problem_of(event.error) if event.error else None
            phase = Phase.FAILED if problem else Phase.PAUSED
            now = dataclasses.replace(now, mbit_s=None, remaining_s=None)
            self._put(dataclasses.replace(now, phase=phase, problem=problem))
        self._look()

    def _given_up(self, bundle_id: str) -> None:
        self._drop(bundle_id)
        offer = self._server.offer(bundle_id)
        if offer is not None:
            self._delete(self._library.part(offer.name, bundle_id, offer.sha256))

    def _put(self, download: Download) -> None:
        self._render(downloads={**self.state.downloads, download.bundle_id: download})

    def _drop(self, bundle_id: str) -> None:
        left = {key: value for key, value in self.state.downloads.items() if key != bundle_id}
        self._render(downloads=left)

    def _render(self, **changes: object) -> None:
        state = dataclasses.replace(self.state, **changes)  # type: ignore[arg-type]  # its fields
        catalogue = self._server.card
        if self._looked is not None:
            state = dataclasses.replace(
                state,
                installed=installed_cards(self._looked, self._checks, self._opened, catalogue),
                unfinished=unfinished_of(self._looked, catalogue, state.downloads),
                used=self._looked.shelf.used,
            )
        state = dataclasses.replace(state, catalogue=catalogue, looking=self._looks > 0)
        self._show(dataclasses.replace(state, now_s=time.time()))

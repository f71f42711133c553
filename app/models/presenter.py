"""Behind the Models page: gestures in, states out. Every method runs on the UI thread.

Three threads stand behind it: one reads and writes the folder of bundles, one downloads, one asks
the server for its list while the page is shown. What they find comes back through `hand_over`.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from app.models import catalogue
from app.models.downloads import Downloads, Ended, Progress
from app.models.library import Library
from app.models.shelves import Looked, installed_cards, look, unfinished_of
from app.models.state import CatalogueCard, Check, Download, ModelsState, Offer, Phase, Reach
from app.platforms import Platform
from app.presenter import HandOver, Presenter
from app.problems import Problem, problem_of
from app.servers import Servers, is_code
from app.settings.preferences import Preferences, PreferenceStore
from headtail.errors import HeadtailError, UnknownName, UsageFault

__all__ = ["ModelsPresenter"]

MB = 1_000_000


class ModelsPresenter(Presenter[ModelsState]):
    """`folder` is the app's own, of which `models` holds the bundles. `open_bundle` shows one."""

    def __init__(
        self,
        folder: Path,
        *,
        platform: Platform,
        preferences: PreferenceStore,
        servers: Servers,
        hand_over: HandOver,
        open_bundle: Callable[[Path], None],
    ) -> None:
        super().__init__(ModelsState(device=platform.device, now_s=time.time()))
        self._library = Library(folder / "models")
        self._memory = folder / "catalogue.json"
        self._platform = platform
        self._hand_over = hand_over
        self._open_bundle = open_bundle
        self._opened: Path | None = None
        self._looked: Looked | None = None
        self._checks: dict[Path, tuple[Check, Problem | None]] = {}
        self._files = ThreadPoolExecutor(1, thread_name_prefix="models")
        self._jobs: set[Future[None]] = set()
        self._downloads = Downloads(self._library, servers.companion, self._progressed)
        self._watch = catalogue.Watch(servers.companion, self._answered)
        self._shown = False
        self._verified_all = False
        remembered = catalogue.read_remembered(self._memory)
        self._catalogue = CatalogueCard(
            remembered.server, Reach.NO_SERVER, remembered.offers, remembered.seen_s
        )
        self._end = preferences.subscribe(self._prefer)
        self._look()

    def enter(self) -> None:
        """The page is shown: the server is followed, and what is installed is verified once."""
        self._shown = True
        self._follow()
        if self._looked is not None:
            self._verify_all()

    def leave(self) -> None:
        """The page is left: nobody is asked any more. Downloads go on."""
        self._shown = False
        self._watch.follow("")

    def refresh(self) -> None:
        """Look at the folder again and ask the server at once."""
        self._look()
        self._follow()
        self._watch.ask_again()

    def set_open(self, path: Path | None) -> None:
        """The bundle that is open now."""
        if path != self._opened:
            self._opened = path
            self._render()

    def open(self, path: Path) -> None:
        """Show what a bundle sees."""
        self._open_bundle(path)

    def verify(self, path: Path) -> None:
        """Compare every byte of an installed bundle with its manifest."""
        self._checks[path] = Check.CHECKING, None
        self._render()
        self._submit(lambda: self._verify(path))

    def install(self, source: Path) -> None:
        """Check and copy a bundle's folder or `.zip`."""
        self._render(busy=f"Checking and copying {source.name}", problem=None)
        quota = self.state.quota
        self._submit(lambda: self._installed(self._library.install(source, quota=quota)))

    def ask_delete(self, path: Path) -> None:
        """Ask whether `path` shall be deleted; the one that is open is not."""
        card = self.state.card(path)
        if card is not None and card.opened:
            self.fail(
                UsageFault(
                    f"{card.name} is open.",
                    expected="A model is deleted when nothing uses it.",
                    remedy="Open another model first.",
                )
            )
        elif card is not None:
            self._render(asked=path)

    def answer(self, *, delete: bool) -> None:
        """The answer to that."""
        path = self.state.asked
        self._render(asked=None)
        if delete and path is not None:
            self._delete(path)

    def download(self, bundle_id: str) -> None:
        """Download a bundle of the list, or go on with it."""
        offers = {offer.bundle_id: offer for offer in self._catalogue.offers}
        if bundle_id not in offers:
            self.fail(UnknownName("bundle of the server's list", bundle_id, offers))
            return
        offer = offers[bundle_id]
        now = self.state.downloads.get(bundle_id) or Download(bundle_id, offer.name, offer.bytes)
        self._put(dataclasses.replace(now, phase=Phase.WAITING, problem=None))
        self._downloads.start(offer, self._catalogue.server, quota=self.state.quota)

    def pause(self, bundle_id: str) -> None:
        """Stop a download; what has come is kept."""
        self._downloads.stop(bundle_id)

    def discard(self, digest: str) -> None:
        """Throw away what a stopped download has got; `digest` is the SHA-256 of its zip."""
        for part in self._looked.shelf.parts if self._looked else ():
            if part.digest == digest and not part.busy:
                self._delete(part.path)

    def toggle(self, key: str) -> None:
        """Show a card in full, or in short again."""
        self._render(expanded=self.state.expanded ^ {key})

    def fail(self, error: Exception) -> None:
        """Show an error."""
        self._render(problem=problem_of(error), busy="")

    def dismiss(self) -> None:
        """Put the error away."""
        self._render(problem=None)

    def close(self) -> bool:
        """Stop every thread; False if one was still at work after five seconds."""
        end, self._end = self._end, lambda: None  # kivy says twice that an app ends
        end()
        self._files.shutdown(wait=False, cancel_futures=True)
        ended = [self._downloads.close(), self._watch.close()]
        return not wait(self._jobs, timeout=5.0).not_done and all(ended)

    # what the folder's thread does

    def _submit(self, work: Callable[[], None]) -> None:
        def job() -> None:
            try:
                work()
            except Exception as error:  # shown; the next job must run
                failure = error
                self._hand_over(lambda: self.fail(failure))

        self._jobs = {job for job in self._jobs if not job.done()}
        self._jobs.add(self._files.submit(job))

    def _look(self) -> None:
        def work() -> None:
            looked = look(self._library, self._platform.runtimes())
            self._hand_over(lambda: self._saw(looked))

        self._submit(work)

    def _verify(self, path: Path) -> None:
        found: tuple[Check, Problem | None] = Check.VERIFIED, None
        try:
            self._library.verify(path)
        except (HeadtailError, OSError) as error:
            found = Check.DAMAGED, problem_of(error)
        self._hand_over(lambda: self._checked(path, found))

    def _delete(self, path: Path) -> None:
        def work() -> None:
            self._library.delete(path)
            self._hand_over(lambda: self._forget(path))

        self._submit(work)

    def _installed(self, path: Path) -> None:
        def show() -> None:
            self._checks[path] = Check.VERIFIED, None
            self._render(busy="")
            self._look()

        self._hand_over(show)

    # what came of it, on the UI thread again

    def _saw(self, looked: Looked) -> None:
        self._looked = looked
        held = {part.digest for part in looked.shelf.parts}
        for download in tuple(self.state.downloads.values()):
            offer = self._offer(download.bundle_id)
            if download.phase is Phase.PAUSED and offer and offer.sha256 not in held:
                self._drop(download.bundle_id)
        self._resume_known()
        self._render()
        if self._shown:
            self._verify_all()

    def _verify_all(self) -> None:
        for found in self._looked.shelf.found if self._looked else ():
            if found.path not in self._checks and found.fault is None:
                self.verify(found.path)

    def _checked(self, path: Path, found: tuple[Check, Problem | None]) -> None:
        self._checks[path] = found
        self._render()

    def _forget(self, path: Path) -> None:
        self._checks.pop(path, None)
        self._look()

    # the server

    def _follow(self) -> None:
        server = self._catalogue.server
        usable = bool(server) and not is_code(server)
        if usable and self._shown:
            self._watch.follow(server)
        reach = (Reach.ASKING if usable else Reach.NO_SERVER, self._catalogue.reach)
        if reach[1] not in (Reach.LIVE, Reach.LOST) or not usable:
            self._catalogue = dataclasses.replace(self._catalogue, reach=reach[0])
        self._render()

    def _prefer(self, preferences: Preferences) -> None:
        if preferences.server != self._catalogue.server:
            self._catalogue = CatalogueCard(preferences.server)
            self._watch.follow("")
        self._follow()
        self._render(quota=preferences.quota_mb * MB)

    def _answered(self, address: str, told: tuple[Offer, ...] | Exception | None) -> None:
        self._hand_over(lambda: self._take_list(address, told))

    def _take_list(self, address: str, told: tuple[Offer, ...] | Exception | None) -> None:
        if address != self._catalogue.server:
            return
        if isinstance(told, Exception):
            lost = {"reach": Reach.LOST, "problem": problem_of(told)}
            self._catalogue = dataclasses.replace(self._catalogue, **lost)  # type: ignore[arg-type]  # two fields of two types
        else:
            offers = self._catalogue.offers if told is None else told
            self._catalogue = CatalogueCard(address, Reach.LIVE, offers, time.time())
            kept = catalogue.Remembered(
                server=address, seen_s=self._catalogue.seen_s, offers=offers
            )
            self._submit(lambda: catalogue.write_remembered(self._memory, kept))
            self._resume_known()
        self._render()

    def _resume_known(self) -> None:
        """What is half here and offered again can be gone on with."""
        for part in self._looked.shelf.parts if self._looked else ():
            for offer in self._catalogue.offers:
                if offer.sha256 != part.digest or offer.bundle_id in self.state.downloads:
                    continue
                if self._library.destination(offer.name, offer.bundle_id) == part.destination:
                    phase = Phase.ELSEWHERE if part.busy else Phase.PAUSED
                    begun = Download(offer.bundle_id, offer.name, offer.bytes, part.held, phase)
                    self._put(begun)

    # downloads

    def _progressed(self, event: Progress | Ended) -> None:
        self._hand_over(lambda: self._take_progress(event))

    def _take_progress(self, event: Progress | Ended) -> None:
        now = self.state.downloads.get(event.bundle_id)
        if now is None:
            return
        if isinstance(event, Progress):
            phase = Phase.INSTALLING if event.held >= event.size else Phase.RUNNING
            now = dataclasses.replace(now, mbit_s=event.mbit_s, remaining_s=event.remaining_s)
            self._put(dataclasses.replace(now, phase=phase, held=event.held))
            return
        if event.path is not None:
            self._checks[event.path] = Check.VERIFIED, None
            self._drop(event.bundle_id)
        else:
            problem = problem_of(event.error) if event.error else None
            phase = Phase.FAILED if problem else Phase.PAUSED
            self._put(
                dataclasses.replace(
                    now, phase=phase, problem=problem, mbit_s=None, remaining_s=None
                )
            )
        self._look()

    def _put(self, download: Download) -> None:
        self._render(downloads={**self.state.downloads, download.bundle_id: download})

    def _drop(self, bundle_id: str) -> None:
        left = {key: value for key, value in self.state.downloads.items() if key != bundle_id}
        self._render(downloads=left)

    def _offer(self, bundle_id: str) -> Offer | None:
        return next((o for o in self._catalogue.offers if o.bundle_id == bundle_id), None)

    def _render(self, **changes: object) -> None:
        state = dataclasses.replace(self.state, **changes)  # type: ignore[arg-type]  # fields of the state
        if self._looked is not None:
            cards = installed_cards(self._looked, self._checks, self._opened, self._catalogue)
            state = dataclasses.replace(
                state,
                installed=cards,
                unfinished=unfinished_of(self._looked, self._catalogue, state.downloads),
                used=self._looked.shelf.used,
            )
        self._show(dataclasses.replace(state, catalogue=self._catalogue, now_s=time.time()))

"""Behind the Settings screen: gestures in, states out; whatever waits is done on its own thread."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any, TypeVar

from app.ending import ENDS_S
from app.figures import milliseconds
from app.live.state import Result
from app.presenter import HandOver, Presenter
from app.problems import problem_of
from app.servers import Server, Servers, is_code
from app.servers.trial import Trial, try_server
from app.settings import checks
from app.settings.about import Part, parts
from app.settings.accelerators import Offered, offered_accelerators
from app.settings.leaving import Sent
from app.settings.preferences import SYSTEM, THEMES, Preferences, PreferenceStore
from app.settings.state import SettingsState
from headtail.errors import HeadtailError, UsageFault
from headtail.offload.client import Companion
from headtail.offload.pairing import build_uri, parse_uri
from headtail.runtimes.base import Runtime

__all__ = ["ADDING", "PAIRING", "SettingsPresenter"]

T = TypeVar("T")
PAIRING, ADDING = "Pairing", "Adding"


class SettingsPresenter(Presenter[SettingsState]):
    """`runtimes()` are those of this machine and `system_theme()` is `light`, `dark` or None where
    the system does not tell; both may block. They are asked when the screen is first shown, and the
    system's theme whenever it is followed.
    """

    def __init__(
        self,
        preferences: PreferenceStore,
        servers: Servers,
        *,
        runtimes: Callable[[], Iterable[Runtime]],
        device: str,
        system_theme: Callable[[], str | None],
        hand_over: HandOver,
    ) -> None:
        state = SettingsState(
            device=device,
            cores=os.cpu_count() or 1,
            preferences=preferences.state,
        )
        super().__init__(state)
        self._preferences = preferences
        self._servers = servers
        self._runtimes = runtimes
        self._system_theme = system_theme
        self._hand_over = hand_over
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="settings")
        self._asked = False
        self._told_theme: str | None = None
        self._tried: Companion | None = None  # the server that is being tried
        self._jobs: set[Future[Any]] = set()
        self._sent: Sent | None = None
        preferences.subscribe(self._prefer)

    def enter(self) -> None:
        """The screen is shown: read what is known, and once what this machine has."""
        self._change(sent=self._sent)
        self._list_servers()
        if not self._asked:
            self._asked = True
            self._do("", self._look_around, self._take_machine)

    # -- servers -----------------------------------------------------------------------------------

    def type_server(self, text: str) -> None:
        """The text of the field for a code or an address, as it stands."""
        self._complain(server=checks.check_server(text))

    def add_server(self, text: str) -> None:
        """Pair by a code, or take an address as it is; either is then the server in use."""
        text = text.strip()
        if not text:
            return
        code = is_code(text)
        add = self._servers.pair if code else self._servers.add
        done = "Paired with {}." if code else "Added {}."
        self._do(
            PAIRING if code else ADDING,
            lambda: (add(text), self._servers.known()),
            lambda added: self._take_added(added, note=done),
        )

    def receive_link(self, text: str) -> None:
        """A link opened the app: a code is shown and waits for a yes, since anyone can make one."""
        try:
            code = parse_uri(text)
        except UsageFault as error:
            self._change(problem=problem_of(error))
            return
        self._change(offered=code, problem=None, note="")

    def accept_link(self) -> None:
        """Pair with the server whose code the link carried."""
        if self.state.offered is not None:
            code = build_uri(self.state.offered)
            self._change(offered=None)
            self.add_server(code)

    def refuse_link(self) -> None:
        """Leave the code alone."""
        self._change(offered=None)

    def use_server(self, address: str) -> None:
        """Ask this server from now on, "" for none."""
        self.change(server=address)

    def open_server(self, address: str) -> None:
        """Show a server's details, or no longer if they are shown."""
        opened = "" if address == self.state.opened else address
        self._change(opened=opened, note="", complaints=replace(self.state.complaints, key=""))

    def rename_server(self, address: str, name: str) -> None:
        """Call it by a name of one's own, "" by its address."""
        if name.strip() in {s.name for s in self.state.servers if s.address == address}:
            return
        self._with_servers("", lambda: self._servers.rename(address, name))

    def type_key(self, text: str) -> None:
        """The text of the field for an API key, as it stands."""
        self._complain(key=checks.check_key(text))

    def set_key(self, address: str, text: str) -> None:
        """Send this API key to the server, "" for none."""
        key = text.strip() or None
        note = "No key is sent any more." if key is None else "The key is kept on this device."
        self._with_servers(note, lambda: self._servers.set_key(address, key))

    def forget_server(self, address: str) -> None:
        """Remove it with its key; it is in use no longer."""
        if self.state.preferences.server == address:
            self.change(server="")
        self._with_servers("Forgotten, and its key with it.", lambda: self._servers.forget(address))

    def try_server(self, address: str) -> None:
        """Ask whether it answers, how fast, and whether it takes the key."""

        def attempt() -> Trial:
            with contextlib.closing(self._servers.companion(address)) as companion:
                self._tried = companion
                return try_server(companion)

        self._do("Asking the server", attempt, self._take_trial)

    # -- everything else ---------------------------------------------------------------------------

    def type_number(self, field: str, text: str) -> None:
        """The text of the field for `quota_mb` or `deadline_ms`; taken as soon as it is right."""
        complaint, allowed, unit = "quota", checks.QUOTA_MB, "MB"
        if field == "deadline_ms":
            complaint, allowed, unit = "deadline", checks.DEADLINE_MS, "ms"
        wrong = checks.check_number(text, allowed, unit)
        self._complain(**{complaint: wrong})
        if not wrong:
            self.change(**{field: float(text) if field == "deadline_ms" else int(text)})

    def change(self, **changes: Any) -> None:
        """Set preferences by name; see `Preferences`."""
        try:
            self._preferences.change(**changes)
        except HeadtailError as error:
            self._change(problem=problem_of(error))

    def theme(self) -> str:
        """`light` or `dark`, what is to be drawn now; what the system told last if it decides."""
        chosen = self.state.preferences.theme
        return (self._told_theme or "light") if chosen == SYSTEM else chosen

    def ask_theme(self) -> None:
        """Ask the system, if it decides: who listens is told again when it says something else."""
        if self._preferences.state.theme == SYSTEM:
            self._do("", self._system_theme, self._take_theme)

    def follow(self, result: Result | None) -> None:
        """A frame was answered: what left this device with it is said when the page is shown."""
        if result is not None and result.bytes_up:
            way = result.offload.decision
            self._sent = Sent(way.cut, way.codec, result.bytes_up, result.bytes_down)

    def dismiss(self) -> None:
        """Put the error away."""
        self._change(problem=None)

    def close(self, *, timeout_s: float = ENDS_S) -> bool:
        """Drop what waits and who is being asked; False if that is still at work after so many
        seconds."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._tried is not None:
            self._tried.close()
        return not wait((job for job in self._jobs if not job.cancelled()), timeout_s).not_done

    # -- what came back from the thread ------------------------------------------------------------

    def _take_trial(self, trial: Trial) -> None:
        self._change(note=f"{trial.sentence()} {milliseconds(trial.round_trip_ms)} there and back.")

    def _take_added(self, added: tuple[str, tuple[Server, ...]], note: str) -> None:
        address, servers = added
        self._change(servers=servers, note=note.format(address), opened="")
        self.change(server=address)

    def _take_machine(self, found: tuple[Offered, tuple[Part, ...], str | None]) -> None:
        self._told_theme = found[2]
        themes = THEMES if found[2] else tuple(name for name in THEMES if name != SYSTEM)
        self._change(accelerators=found[0], about=found[1], themes=themes)

    def _take_theme(self, told: str | None) -> None:
        if told != self._told_theme:
            self._told_theme = told
            self._change()

    def _prefer(self, chosen: Preferences) -> None:
        fault = self._preferences.fault
        self._change(preferences=chosen, problem=problem_of(fault) if fault else self.state.problem)
        if chosen.theme == SYSTEM and self._told_theme is None:
            self.ask_theme()
        if self._asked and chosen.server not in {"", *(s.address for s in self.state.servers)}:
            self._list_servers()

    def _list_servers(self) -> None:
        self._do("", self._known, lambda servers: self._change(servers=servers))

    def _known(self) -> tuple[Server, ...]:
        if self._preferences.state.server:  # named elsewhere, as on the command line
            with contextlib.suppress(UsageFault):
                self._servers.add(self._preferences.state.server)
        return self._servers.known()

    def _look_around(self) -> tuple[Offered, tuple[Part, ...], str | None]:
        runtimes = tuple(self._runtimes())
        return offered_accelerators(runtimes), parts(runtimes), self._system_theme()

    def _with_servers(self, note: str, act: Callable[[], None]) -> None:
        def acted() -> tuple[Server, ...]:
            act()
            return self._servers.known()

        self._do("", acted, lambda servers: self._change(servers=servers, note=note, problem=None))

    def _do(self, busy: str, work: Callable[[], T], take: Callable[[T], None]) -> None:
        """Have `work` done on the thread and its result taken here; an error is shown."""
        if busy:
            self._change(busy=busy, note="", problem=None)

        def finish(done: Future[T]) -> None:
            def here() -> None:
                error = done.exception()
                if error is None:
                    take(done.result())
                elif isinstance(error, Exception):
                    self._change(problem=problem_of(error))
                if busy:
                    self._change(busy="")

            if not done.cancelled():
                self._hand_over(here)

        job = self._thread.submit(work)
        self._jobs = {former for former in self._jobs if not former.done()} | {job}
        job.add_done_callback(finish)

    def _complain(self, **complaints: str) -> None:
        self._change(complaints=replace(self.state.complaints, **complaints))

    def _change(self, **changes: Any) -> None:
        self._show(replace(self.state, **changes))

"""The server whose list is shown: whether it answers, what it offers, and what it offered last.

Lives on the UI thread; the `Watch` behind it asks on a thread of its own, and only while somebody
looks at the page: nothing is asked of a server unasked.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

from app.models.catalogue import Remembered, Watch, read_remembered, write_remembered
from app.models.state import CatalogueCard, Offer, Reach
from app.presenter import HandOver
from app.problems import problem_of
from app.servers import is_code
from headtail.offload.client import Companion

__all__ = ["Following"]


class Following:
    """`card` is what is known; `changed()` is called after every change of it. The list is kept in
    `memory`.
    """

    def __init__(
        self,
        companion: Callable[[str], Companion],
        memory: Path,
        *,
        hand_over: HandOver,
        changed: Callable[[], None],
    ) -> None:
        self._memory = memory
        self._hand_over = hand_over
        self._changed = changed
        self._watch = Watch(companion, self._answered)
        self._looking = False
        held = read_remembered(memory)
        self.card = CatalogueCard(held.server, Reach.NO_SERVER, held.offers, held.seen_s)

    def use(self, server: str) -> None:
        """Follow the server at that address; nobody for "" and a pairing code, which is none."""
        address = "" if is_code(server) else server
        if address != self.card.server:
            self._watch.follow("")
            self.card = CatalogueCard(address)
        self._begin()

    def look(self, *, looking: bool) -> None:
        """Whether somebody looks at the list."""
        self._looking = looking
        if looking:
            self._begin()
            return
        self._watch.follow("")
        if self.card.reach is Reach.LIVE:  # which it was until now
            self.card = dataclasses.replace(self.card, reach=Reach.ASKING)
            self._changed()

    def ask_again(self) -> None:
        """Ask at once."""
        self._begin()
        self._watch.ask_again()

    def offer(self, bundle_id: str) -> Offer | None:
        """The bundle with that id in the list."""
        return next((o for o in self.card.offers if o.bundle_id == bundle_id), None)

    def close(self, *, timeout_s: float) -> bool:
        """Stop asking; False if the thread is still at it after so many seconds."""
        return self._watch.close(timeout_s=timeout_s)

    def _begin(self) -> None:
        if not self.card.server:
            self.card = dataclasses.replace(self.card, reach=Reach.NO_SERVER)
        elif self.card.reach is Reach.NO_SERVER:
            self.card = dataclasses.replace(self.card, reach=Reach.ASKING)
        if self._looking:
            self._watch.follow(self.card.server)
        self._changed()

    def _answered(self, address: str, told: tuple[Offer, ...] | Exception | None) -> None:
        now_s = time.time()
        if isinstance(told, tuple):
            kept = Remembered(server=address, seen_s=now_s, offers=told)
            write_remembered(self._memory, kept)
        self._hand_over(lambda: self._take(address, told, now_s))

    def _take(self, address: str, told: tuple[Offer, ...] | Exception | None, now_s: float) -> None:
        if address != self.card.server:  # another one was chosen meanwhile
            return
        if isinstance(told, Exception):
            self.card = dataclasses.replace(self.card, reach=Reach.LOST, problem=problem_of(told))
        else:
            offers = self.card.offers if told is None else told
            self.card = CatalogueCard(address, Reach.LIVE, offers, now_s)
        self._changed()

"""One executor, kept: connected, brought up again after it was lost, ended if it hangs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from companion_server.executor.link import Link, LinkLost, Outcome
from companion_server.executor.places import Place
from headtail.errors import HeadtailError
from headtail.tensors import Array

__all__ = ["AttendedExecutor", "Computed"]

log = logging.getLogger(__name__)
STUCK_S = 30.0  # no batch takes so long; an executor that does is ended
Computed = tuple[list[list[Array]], float]  # outputs of each group, ms


class AttendedExecutor:
    """`bring_up` is awaited with this object after every connection, before it is given work."""

    def __init__(
        self,
        place: Place,
        bring_up: Callable[[AttendedExecutor], Awaitable[None]],
        on_change: Callable[[], None],
    ) -> None:
        self.bundles: set[str] = set()  # what it has loaded
        self.busy = False
        self.until = 0.0  # time.monotonic() when its batch should be done
        self.starts = 0
        self._place = place
        self._bring_up = bring_up
        self._on_change = on_change
        self._link: Link | None = None
        self._pid = 0

    async def attend(self) -> None:
        """Connect, bring up, wait until it is lost, and again; until cancelled."""
        try:
            while True:
                self._link = await self._place.connect()
                lost = self._link.lost
                with contextlib.suppress(LinkLost):
                    self._pid = (await self._link.ask({"op": "hello"}))[0]["pid"]
                    self.starts += 1
                    await self._bring_up(self)
                    self._on_change()
                await lost
                self.bundles.clear()
                log.warning("executor %d is gone; waiting for another", self._pid)
        finally:
            if self._link is not None:
                self._link.close()
            await self._place.close()

    async def load(
        self, bundle_id: str, path: str, *, known: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """What the runner says of the loaded bundle; raises `HeadtailError`.

        `known` is what one said of it before: what was measured is not measured again.
        """
        times = [segment["ms"] for segment in (known or {}).get("segments", [])]
        reply, _ = await self._asked({"op": "load", "path": path, "known": times})
        self.bundles.add(bundle_id)
        info: dict[str, Any] = reply["info"]
        return info

    async def unload(self, bundle_id: str) -> None:
        """Free a bundle; nothing if it is not connected."""
        self.bundles.discard(bundle_id)
        with contextlib.suppress(LinkLost):
            await self._asked({"op": "unload", "bundle": bundle_id})

    async def info(self, bundle_id: str) -> dict[str, Any]:
        """The bundle's backends, times and memory as they are now."""
        reply, _ = await self._asked({"op": "info", "bundle": bundle_id})
        info: dict[str, Any] = reply["info"]
        return info

    def begin(
        self,
        bundle_id: str,
        groups: Sequence[tuple[str, Sequence[Array]]],
        done: Callable[[Computed | HeadtailError], None],
    ) -> None:
        """Compute; it must be connected, and have loaded the bundle.

        `done` is called once, from the line itself: a task in between costs a lone client a tenth
        of a millisecond. With the outputs of each group; `LinkLost` if the executor dies or hangs,
        or its fault.
        """
        assert self._link is not None
        stuck = asyncio.get_running_loop().call_later(STUCK_S, self._end_stuck)

        def answered(outcome: Outcome) -> None:
            stuck.cancel()
            if isinstance(outcome, LinkLost):
                self.bundles.clear()  # nothing more is given to it until it is there again
            done(outcome if isinstance(outcome, HeadtailError) else _computed(*outcome))

        counts = [[cut, len(arrays)] for cut, arrays in groups]
        flat = [array for _, arrays in groups for array in arrays]
        self._link.post({"op": "run", "bundle": bundle_id, "groups": counts}, flat, done=answered)

    def drop(self) -> None:
        """End the executor's process, where it has one, and the line to it."""
        self._place.kill(self._pid)
        if self._link is not None:
            self._link.close()

    def status(self) -> dict[str, Any]:
        """Whether it can be given work, and how often it had to be found again."""
        return {"connected": self.connected, "busy": self.busy, "restarts": max(0, self.starts - 1)}

    @property
    def connected(self) -> bool:
        """Is there a line to it?"""
        return self._link is not None and not self._link.lost.done()

    def left_ms(self) -> float:
        """How long its running batch should still take."""
        return max(0.0, self.until - time.monotonic()) * 1e3 if self.busy else 0.0

    def _end_stuck(self) -> None:
        log.error("executor %d hangs since %g s and is ended", self._pid, STUCK_S)
        self.drop()  # and with the line, whoever waits for it is told

    async def _asked(
        self, head: dict[str, Any], arrays: Sequence[Array] = ()
    ) -> tuple[dict[str, Any], list[Array]]:
        if self._link is None:
            raise LinkLost(
                "No executor is connected.",
                expected="One is started with the server.",
                remedy="Ask again in a second.",
            )
        try:
            return await self._link.ask(head, arrays)
        except LinkLost:
            self.bundles.clear()  # nothing more is given to it until it is there again
            raise


def _computed(reply: dict[str, Any], outputs: list[Array]) -> Computed:
    found, offset = [], 0
    for count in reply["counts"]:
        found.append(outputs[offset : offset + count])
        offset += count
    return found, reply["compute_ms"]

"""The deployment whose replicas run tails: `TailRunner` behind Ray Serve's batches.

A replica takes any bundle of the library: it fetches what it lacks, and forgets the bundle that was
not used for longest beyond `MAX_BUNDLES` (Ray Serve's model multiplexing, which also sends requests
to replicas that hold their bundle already).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ray import serve

from companion_server.conditions import NotReady
from companion_server.executor.faults import to_fault
from companion_server.ray_serve.library import Unpacked
from companion_server.tails import Group, TailRunner
from headtail.tensors import Array

__all__ = ["MAX_BUNDLES", "Tail"]

log = logging.getLogger(__name__)
T = TypeVar("T")
MAX_BUNDLES = 8  # held by one replica at once
TEND_EVERY_S = 0.2
Reply = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A request in this replica; `latest` is when its compute must have begun, by this clock."""

    bundle_id: str
    group: Group
    arrived: float
    latest: float | None


class Tail:
    """One replica. Everything that comes in and goes out is plain data and numpy arrays."""

    # Ray Serve awaits an asynchronous constructor, which mypy has never heard of
    async def __init__(  # type: ignore[misc]
        self, library: Any, *, threads: int, max_batch: int, tuning: str
    ) -> None:
        """`library`: the handle of a `BundleLibrary`; `tuning`: `TailRunner`'s, of this node."""
        self._runner = TailRunner(threads=threads, tuning=Path(tuning) if tuning else None)
        self._thread = ThreadPoolExecutor(1, "tail")
        self._library = library
        self._loaded: set[str] = set()
        self._folders: dict[str, contextlib.ExitStack] = {}  # of bundles that builders read
        self._keeps_folders = bool(tuning)
        self._inside = 0  # requests in this replica
        self._together.set_max_batch_size(max_batch)
        for bundle_id in (await self._library.ids.remote())[-MAX_BUNDLES:]:
            # a replica that comes later is warm before its first request
            fault = (await self.load(bundle_id)).get("fault")
            if fault:
                log.error("Bundle %s cannot be loaded here: %s", bundle_id, fault["what"])
        self._tending = asyncio.create_task(self._tend()) if tuning else None

    def __del__(self) -> None:
        self._runner.close()
        for folder in self._folders.values():
            folder.close()

    async def load(self, bundle_id: str) -> Reply:
        """Fetch, prove and warm a bundle: `{"info": ...}` of `TailRunner`, or `{"fault": ...}`."""
        try:
            await self._ready(bundle_id)
            return {"info": await self._on_thread(lambda: self._runner.info(bundle_id))}
        except Exception as error:
            return {"fault": to_fault(error)}

    async def unload(self, bundle_id: str) -> None:
        """Forget a bundle after the batches that were accepted before."""
        self._loaded.discard(bundle_id)
        await self._on_thread(lambda: self._unload(bundle_id))

    async def run(
        self, bundle_id: str, cut: str, arrays: Sequence[Array], budget_ms: float | None
    ) -> Reply:
        """Compute one request, together with others of its bundle that wait here.

        `budget_ms` counts from now, since clocks of machines differ. Replies `{"outputs",
        "queue_ms", "compute_ms", "batch"}`, `{"late": ms}` if compute could not begin in time, or
        `{"fault": ...}` as `companion_server.executor.faults` writes it.
        """
        arrived = time.monotonic()
        latest = None if budget_ms is None else arrived + budget_ms / 1e3
        group = Group(cut, tuple(arrays))
        self._inside += 1
        try:
            reply: Reply = await self._together(_Waiting(bundle_id, group, arrived, latest))
        finally:
            self._inside -= 1
        return reply

    @serve.batch(batch_wait_timeout_s=0)  # type: ignore[untyped-decorator]
    async def _together(self, waiting: list[_Waiting]) -> list[Reply]:
        # of one bundle: Ray Serve divides a batch by the multiplexed id of its requests
        bundle_id = waiting[0].bundle_id
        try:
            await self._ready(bundle_id)
            return await self._on_thread(lambda: self._compute(bundle_id, waiting))
        except Exception as error:
            return [{"fault": to_fault(error)} for _ in waiting]

    def _compute(self, bundle_id: str, waiting: list[_Waiting]) -> list[Reply]:
        started = time.monotonic()
        timely = [w for w in waiting if w.latest is None or started <= w.latest]
        replies = iter(self._run(bundle_id, timely, started) if timely else [])
        return [
            next(replies) if w in timely else {"late": (started - w.arrived) * 1e3} for w in waiting
        ]

    def _run(self, bundle_id: str, waiting: list[_Waiting], started: float) -> list[Reply]:
        try:
            outputs = self._runner.run(bundle_id, [w.group for w in waiting])
        except Exception as error:
            if len(waiting) > 1:  # one that fails must not fail the others
                return [self._run(bundle_id, [w], time.monotonic())[0] for w in waiting]
            return [{"fault": to_fault(error)}]
        compute_ms = (time.monotonic() - started) * 1e3
        batch = sum(w.group.samples for w in waiting)
        return [
            {
                "outputs": arrays,
                "queue_ms": (started - w.arrived) * 1e3,
                "compute_ms": compute_ms,
                "batch": batch,
            }
            for w, arrays in zip(waiting, outputs, strict=True)
        ]

    async def _ready(self, bundle_id: str) -> None:
        await self._hold(bundle_id)
        if bundle_id not in self._loaded:  # it was unloaded, which Ray Serve's cache cannot know
            await self._bring(bundle_id)

    @serve.multiplexed(max_num_models_per_replica=MAX_BUNDLES)  # type: ignore[untyped-decorator]
    async def _hold(self, bundle_id: str) -> _Held:
        await self._bring(bundle_id)
        return _Held(lambda: self._forget(bundle_id))

    async def _bring(self, bundle_id: str) -> None:
        found = await self._library.get.remote(bundle_id)
        if found is None:
            raise NotReady(
                f"Bundle {bundle_id} is not on this cluster any more.",
                expected="A bundle is kept until it is unloaded.",
                remedy="Ask for a bundle that /v2/bundles lists.",
            )
        sha256, [reference] = found
        await asyncio.to_thread(self._load, bundle_id, sha256, await reference)
        self._loaded.add(bundle_id)

    def _forget(self, bundle_id: str) -> None:
        self._loaded.discard(bundle_id)
        with contextlib.suppress(RuntimeError):  # the replica is ending: its thread is gone
            self._thread.submit(self._unload, bundle_id)

    def _load(self, bundle_id: str, sha256: str, data: Any) -> None:
        with contextlib.ExitStack() as stack:
            self._runner.load(stack.enter_context(Unpacked(bundle_id, sha256, data)))
            if self._keeps_folders:
                self._folders[bundle_id] = stack.pop_all()

    def _unload(self, bundle_id: str) -> None:
        self._runner.unload(bundle_id)
        folder = self._folders.pop(bundle_id, None)
        if folder is not None:
            folder.close()

    async def _tend(self) -> None:
        """Look for faster backends while no request is here, as an executor process does."""
        while True:
            more = await self._on_thread(lambda: self._runner.tend(idle=not self._inside))
            await asyncio.sleep(0 if more and not self._inside else TEND_EVERY_S)

    async def _on_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


class _Held:
    """What Ray Serve keeps for a loaded bundle; it calls `__del__` to have it forgotten."""

    def __init__(self, forget: Callable[[], None]) -> None:
        self._forget: Callable[[], None] | None = forget

    def __del__(self) -> None:
        forget, self._forget = self._forget, None  # Python calls it once more
        if forget is not None:
            forget()

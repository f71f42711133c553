"""From uploaded bytes to a version that is served, and back, without dropping a request.

    incoming --whole--> checking --hashes, schema--> loading --golden--> live
                            \\--> refused <------------/                   | files changed
                                                                          v
                  removed: not served, files gone, jobs done, unloaded   withdrawn

A version is visible, and `latest`, only when the engine has loaded and proved its tail. One that is
removed stays loaded for a while, for requests that found it before it went, and then until the
engine has finished what it accepted. Publishing stores; nothing of a bundle is executed before its
hashes, its schema and its signature were found good.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from companion_server.conditions import NotReady
from companion_server.store.faults import StoreConflict
from companion_server.store.uploads import Part, Uploads
from headtail.errors import HeadtailError, UnknownName

if TYPE_CHECKING:
    from companion_server.store.packed import StoredBundle
    from companion_server.store.registry import Allow, BundleStore

__all__ = ["Lifecycle", "Loader"]

log = logging.getLogger(__name__)
CHECK_EVERY_S = 2.0
LINGER_S = 5.0  # from finding a bundle to its job, a large body's decoding included
MAX_REFUSALS = 64  # reasons kept for publishers who ask later


class Loader(Protocol):
    """What loads tails; `companion_server.jobs.Engine` is one."""

    async def load(self, stored: StoredBundle) -> None:
        """Read a bundle's tail and prove it on golden activations; raises `HeadtailError`."""
        ...

    async def unload(self, bundle_id: str) -> None:
        """Forget a bundle once its accepted jobs are done."""
        ...

    def check_ready(self, bundle_id: str) -> None:
        """Raise `NotReady` unless this bundle can be run."""
        ...


class Lifecycle:
    """Moves bundles between the store and the engine; belongs to one event loop.

    Files are looked at every `check_every_s` seconds: how long a change may go unnoticed. Removed
    bundles stay loaded for `linger_s`.
    """

    def __init__(
        self,
        store: BundleStore,
        engine: Loader,
        *,
        check_every_s: float = CHECK_EVERY_S,
        linger_s: float = LINGER_S,
    ) -> None:
        self._check_every_s = check_every_s
        self._linger_s = linger_s
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._started = False
        self.store = store
        self._engine = engine
        self._states: dict[str, str] = {}
        self._refusals: OrderedDict[tuple[str, str], HeadtailError] = OrderedDict()
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        folder = store.folder
        self.uploads = None if folder is None else Uploads(folder, store.rules.quota_bytes)

    async def start(self) -> None:
        """Load every bundle of the store, then watch their files.

        A published bundle that cannot be loaded is withdrawn; for one that was given by its path
        the error is raised.
        """
        async with self._turn:
            for stored in tuple(self.store.bundles.values()):
                try:
                    await self._load(stored)
                    self._set_state(stored.bundle_id, "live")
                except HeadtailError as error:
                    if not stored.published:
                        raise
                    self._withdraw(stored.bundle_id, error)
        self._started = True
        self._run(self._watch())

    def check_ready(self) -> None:
        """Raise `NotReady` while bundles are loaded at start, or if one that is live cannot run.

        What is being published does not count: it is not there yet.
        """
        if not self._started:
            raise NotReady(
                "The tails are still being loaded.",
                expected="Every bundle is loaded before the server is ready.",
                remedy="Ask again in a second, and answer on the device meanwhile.",
            )
        for bundle_id, stored in self.store.bundles.items():
            if self._states.get(bundle_id) == "live" and stored.bundle.manifest.tails:
                self._engine.check_ready(bundle_id)

    async def close(self) -> None:
        """Stop watching; what is being checked is given up, and cleared at the next start."""
        self.store.changes.end()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def status(self, bundle_id: str, owner: str = "") -> dict[str, Any]:
        """`bundle_id`, `state`, and what belongs to it; `UnknownName` if nothing is known of it.

        `received` and `bytes` while it is incoming; `error` if it was refused or withdrawn. Of
        uploads, those of `owner`, a key's id.
        """
        told: dict[str, Any] = {"bundle_id": bundle_id}
        state = self._states.get(bundle_id, "")
        if state in ("checking", "loading"):
            return {**told, "state": state}
        if fault := self.store.faults.get(bundle_id):
            return {**told, "state": "withdrawn", "error": str(fault)}
        if stored := self.store.bundles.get(bundle_id):
            return {**told, "state": state or "loading", "model": stored.model}
        if upload := self.uploads and self.uploads.received(bundle_id, owner):
            if upload[0] == upload[1]:  # and another's of the same id is checked before it
                return {**told, "state": "checking"}
            return {**told, "state": "incoming", "received": upload[0], "bytes": upload[1]}
        if refusal := self._refusals.get((bundle_id, owner)):
            return {**told, "state": "refused", "error": str(refusal)}
        raise UnknownName("bundle", bundle_id, self.store.visible)

    def known(self, bundle_id: str, owner: str = "") -> bool:
        """Whether an upload would be in vain: it is served, or the owner's is checked already."""
        busy = self._states.get(bundle_id) in ("checking", "loading")
        own = self.uploads is not None and self.uploads.claimed(bundle_id, owner)
        return (busy and own) or bundle_id in self.store.bundles

    def accept(self, part: Part, allow: Allow) -> None:
        """Check, load and serve a whole upload, in the background; `status` tells how it went.

        `allow` is asked with the model's name and raises if its sender may not publish that.
        """
        if part.piece.bundle_id not in self.store.bundles:
            self._states[part.piece.bundle_id] = "checking"
        self._run(self._publish(part, allow))

    async def remove(self, bundle_id: str, owner: str | None = "") -> None:
        """Serve a bundle no longer and delete its files; or drop its upload.

        That of `owner`, or everybody's if that is None. A tail is unloaded later, when nobody can
        need it. Raises as `BundleStore.remove`.
        """
        async with self._turn:
            if self.uploads and self.uploads.drop(bundle_id, owner):
                return
            self.store.remove(bundle_id)
            self._states.pop(bundle_id, None)
            await asyncio.to_thread(self.store.discard, bundle_id)
            self._leaving[bundle_id] = self._run(self._unload_later(bundle_id))

    async def set_alias(self, model: str, alias: str, bundle_id: str | None) -> None:
        """Point `alias` to a loaded bundle; None removes it. Raises as `BundleStore.set_alias`.

        Waits for no bundle that is being loaded: rolling back has to be quick.
        """
        await asyncio.to_thread(self.store.set_alias, model, alias, bundle_id)

    async def load_model(self, model: str) -> None:
        """Load what `unload_model` forgot; raises `UnknownName`, and what the engine raises."""
        async with self._turn:
            for stored in self.store.versions(model):
                if self._states.get(stored.bundle_id) != "live":
                    try:
                        await self._load(stored)
                    except Exception:
                        self._set_state(stored.bundle_id, "unloaded")
                        raise
                    self._set_state(stored.bundle_id, "live")

    async def unload_model(self, model: str) -> None:
        """Free the memory of a model's tails; its bundles stay, for download."""
        async with self._turn:
            for stored in self.store.versions(model):
                await self._engine.unload(stored.bundle_id)
                self._set_state(stored.bundle_id, "unloaded")

    def _run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _unload_later(self, bundle_id: str) -> None:
        await asyncio.sleep(self._linger_s)
        async with self._turn:
            del self._leaving[bundle_id]
            await self._engine.unload(bundle_id)

    async def _publish(self, part: Part, allow: Allow) -> None:
        bundle_id = part.piece.bundle_id
        assert self.uploads is not None  # a part is one of its
        try:
            async with self._turn:
                if bundle_id in self.store.bundles:  # another key's upload was checked first
                    part.path.unlink(missing_ok=True)
                    return
                self._states[bundle_id] = "checking"
                stored = await asyncio.to_thread(self.store.stage, part.path, bundle_id, allow)
                await self._prove(stored)
                await asyncio.to_thread(self.store.add, stored)
                self._set_state(bundle_id, "live")
                log.info("Bundle %s of %s is live.", bundle_id, stored.model)
        except HeadtailError as error:
            self._refuse(part, error)
        except Exception as error:
            log.exception("Publishing %s failed.", bundle_id)
            self._refuse(part, _failed(error))
        finally:
            self.uploads.release(part.piece)

    async def _prove(self, stored: StoredBundle) -> None:
        try:
            await self._load(stored)
        except Exception:  # not when the server ends: the next one proves what it finds
            await asyncio.to_thread(self.store.discard, stored.bundle_id)
            raise

    async def _load(self, stored: StoredBundle) -> None:
        self._set_state(stored.bundle_id, "loading")
        if leaving := self._leaving.pop(stored.bundle_id, None):
            leaving.cancel()  # the same bundle came back, and is loaded still
        elif stored.bundle.manifest.tails:  # without one it is held for download only
            try:
                await self._engine.load(stored)
                await asyncio.to_thread(stored.check)  # what was read is what was verified
            except Exception:  # whatever it was, nothing half loaded may stay
                await self._engine.unload(stored.bundle_id)
                raise

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._check_every_s)
            for stored in tuple(self.store.bundles.values()):
                await self._check(stored)

    async def _check(self, stored: StoredBundle) -> None:
        try:
            await asyncio.to_thread(stored.check)
        except HeadtailError as fault:
            async with self._turn:
                if self.store.bundles.get(stored.bundle_id) is stored:
                    self._withdraw(stored.bundle_id, fault)
                    await self._engine.unload(stored.bundle_id)
        except OSError as error:  # the disk, not the bundle: look again later
            log.warning("Bundle %s cannot be looked at: %s", stored.bundle_id, error)

    def _withdraw(self, bundle_id: str, fault: HeadtailError) -> None:
        self.store.withdraw(bundle_id, fault)
        self._states.pop(bundle_id, None)

    def _refuse(self, part: Part, error: HeadtailError) -> None:
        bundle_id = part.piece.bundle_id
        part.path.unlink(missing_ok=True)  # bytes that are wrong cannot be continued
        log.warning("Bundle %s was refused. %s", bundle_id, error)
        self._refusals[bundle_id, part.piece.owner] = error
        self._states.pop(bundle_id, None)
        self._refusals.move_to_end((bundle_id, part.piece.owner))
        while len(self._refusals) > MAX_REFUSALS:
            self._refusals.popitem(last=False)
        self.store.changes.announce()

    def _set_state(self, bundle_id: str, state: str) -> None:
        self._states[bundle_id] = state
        self.store.changes.announce()


def _failed(error: Exception) -> HeadtailError:
    return StoreConflict(
        f"The bundle could not be stored: {type(error).__name__}.",
        expected="A bundle that was checked can be stored.",
        remedy="See the server's log.",
    )

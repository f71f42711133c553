"""A companion server that bundles can be published to, in a thread of this process."""

from __future__ import annotations

import asyncio
import contextlib
import io
import resource
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn

from companion_server.app import create_app
from companion_server.conditions import NotReady
from companion_server.jobs import Engine, Job, Result
from companion_server.settings import Settings
from companion_server.store import BundleStore, StoredBundle, StoreRules
from headtail.bundle import Bundle, pack_zip
from headtail.errors import HeadtailError
from tests.companion_server.conftest import Running

TIMEOUT_S = 20.0


class IdleEngine:
    """Loads everything at once and runs nothing: for tests of what is around tails.

    `events` has what was loaded and unloaded; `fault` is raised by the next load; `hold` keeps
    loads waiting; `broken` are bundles that are not ready.
    """

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.fault: HeadtailError | None = None
        self.hold = False
        self.broken: set[str] = set()

    async def start(self) -> None:
        """Nothing to begin."""

    async def close(self) -> None:
        """Nothing to end."""

    async def load(self, stored: StoredBundle) -> None:
        """Note it."""
        self.events.append(("load", stored.bundle_id))
        while self.hold:
            await asyncio.sleep(0.005)
        if (fault := self.fault) is not None:
            self.fault = None
            raise fault

    async def unload(self, bundle_id: str) -> None:
        """Note it."""
        self.events.append(("unload", bundle_id))

    def check_ready(self, bundle_id: str = "") -> None:
        """Unless it is said to be broken."""
        if bundle_id in self.broken:
            raise NotReady("It is broken.", expected="E.", remedy="R.")

    async def run(self, job: Job) -> Result:
        """Never."""
        raise AssertionError("this engine runs nothing")

    def status(self) -> dict[str, Any]:
        """Nothing waits."""
        return {}


class Publishing(Running):
    """The server, as somebody who publishes sees it."""

    def put(self, bundle_id: str, body: bytes, **headers: str) -> tuple[int, Any]:
        """PUT a zip, or a piece of one."""
        code, told = self.json("PUT", f"/v2/bundles/{bundle_id}", body, headers)
        return code, told

    def status(self, bundle_id: str) -> dict[str, Any]:
        """What the server says of a bundle; state `unknown` if it says nothing."""
        code, told = self.json("GET", f"/v2/bundles/{bundle_id}/status")
        return told if code == 200 else {"state": "unknown"}

    def settled(self, bundle_id: str, *, but: tuple[str, ...] = ("checking", "loading")) -> Any:
        """The status, as soon as it is none of `but`."""
        return until(lambda: (told := self.status(bundle_id))["state"] not in but and told)

    def publish(self, bundle: Bundle) -> Any:
        """Upload a bundle and wait for the verdict."""
        code, told = self.put(bundle.manifest.bundle_id, zipped(bundle))
        assert code in (200, 202), told
        return self.settled(bundle.manifest.bundle_id)

    def ids(self) -> list[str]:
        """The bundles listed."""
        return [row["bundle_id"] for row in self.json("GET", "/v2/bundles")[1]]

    def aliases(self, model: str = "toy") -> dict[str, str]:
        """Alias -> bundle id."""
        told: dict[str, str] = self.json("GET", f"/v2/models/{model}/aliases")[1]
        return told


def until(condition: Callable[[], Any], *, seconds: float = TIMEOUT_S) -> Any:
    """The condition's value as soon as it is true."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it did not become true in time"
        time.sleep(0.005)
    return value


def zipped(bundle: Bundle) -> bytes:
    """The bundle's zip."""
    path = bundle.path.with_suffix(".packed")
    pack_zip(bundle, path)
    data = path.read_bytes()
    path.unlink()
    return data


def repacked(members: dict[str, bytes]) -> bytes:
    """A stored zip of any members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file of this process can grow over `size` bytes: what a full disk is like, for all users.

    The system answers EFBIG instead of ENOSPC; Python ignores the signal that comes with it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def publishing(
    *paths: Path, rules: StoreRules | None = None, engine: Engine | None = None
) -> Iterator[Publishing]:
    """Serve `paths`, with tails on a thread of this process unless `engine` is given."""
    loaded = threading.Event()
    store = BundleStore(paths, rules=rules)
    app = create_app(
        store,
        Settings.of(tls=False, auth=False),
        engine=engine,
        on_loaded=lambda _failure: loaded.set(),
    )
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        until(lambda: loaded.is_set() or not thread.is_alive())
        yield Publishing(store, thread, server, listener.getsockname()[1])
    finally:
        store.changes.end()
        server.should_exit = True
        thread.join(30)
        listener.close()
        store.close()

"""A companion server that bundles can be published to, in a thread of this process."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from companion_server import (
    problems,
    routes_bundles,
    routes_oip,
    routes_publishing,
    routes_repository,
)
from companion_server.app import engine_in_process
from companion_server.inference import Service
from companion_server.settings import Settings
from companion_server.store import BundleStore, Lifecycle, StoreRules
from companion_server.store.lifecycle import Loader
from headtail.bundle import Bundle, pack_zip
from tests.companion_server.conftest import Running

TIMEOUT_S = 20.0


class Publishing(Running):
    """The server, its store and what moves bundles in it."""

    lifecycle: Lifecycle

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
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@contextlib.contextmanager
def publishing(
    *paths: Path, rules: StoreRules | None = None, loader: Loader | None = None
) -> Iterator[Publishing]:
    """Serve `paths`, with tails on a thread of this process unless `loader` is given."""
    store = BundleStore(paths, rules=rules)
    engine = engine_in_process(Settings.of(tls=False, auth=False))
    lifecycle = Lifecycle(store, loader or engine)
    started = threading.Event()

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> Any:
        await engine.start()
        await lifecycle.start()
        started.set()
        yield
        await lifecycle.close()
        await engine.close()

    app = FastAPI(lifespan=lifespan)
    problems.install(app)
    app.include_router(routes_oip.router(Service(store, engine, 64 << 20)))
    app.include_router(routes_bundles.router(store))
    app.include_router(routes_publishing.router(lifecycle))
    app.include_router(routes_repository.router(lifecycle))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        until(lambda: started.is_set() or not thread.is_alive())
        found = Publishing(store, thread, server, listener.getsockname()[1])
        found.lifecycle = lifecycle
        yield found
    finally:
        store.changes.end()
        server.should_exit = True
        thread.join(30)
        listener.close()
        store.close()

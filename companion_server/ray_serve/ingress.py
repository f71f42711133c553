"""The deployment that phones reach: the same ASGI application, with a `RayEngine` behind it.

It stays on the machine that serves (`launch` pins it there), because published bundles, keys,
certificate and the audit log are files of that machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from companion_server.executor.faults import to_fault
from headtail.errors import HeadtailError

__all__ = ["Ingress"]

log = logging.getLogger(__name__)


class Ingress:
    """Builds the application where it runs: Ray Serve calls `__serve_build_asgi_app__` there.

    `settings` are the fields of `Settings` as plain values, `replicas` the fewest tails there are,
    `url` where phones reach it.
    """

    def __init__(
        self,
        handles: tuple[Any, Any],
        bundles: Sequence[str],
        settings: Mapping[str, Any],
        *,
        replicas: int,
        url: str,
    ) -> None:
        self._tails, self._library = handles
        self._bundles, self._settings = bundles, dict(settings)
        self._replicas, self._url = replicas, url
        self._ended = contextlib.ExitStack()
        self._loaded: asyncio.Future[dict[str, Any]] | None = None

    def __serve_build_asgi_app__(self) -> Any:
        """The application, whose lifespan loads every bundle; one of no routes if it cannot be."""
        self._loaded = asyncio.get_running_loop().create_future()
        try:
            return self._application(self._loaded)
        except HeadtailError as error:
            log.error("%s", error)
            self._loaded.set_result({"fault": to_fault(error)})
            return _Nothing()

    async def loaded(self) -> dict[str, Any]:
        """Waits for every bundle to be proven on every replica.

        Fields of `Announcement`, or `{"fault": ...}`.
        """
        assert self._loaded is not None
        return await asyncio.shield(self._loaded)

    def __del__(self) -> None:
        self._ended.close()

    def _application(self, loaded: asyncio.Future[dict[str, Any]]) -> Any:
        from companion_server.app import create_app
        from companion_server.ray_serve.engine import RayEngine
        from companion_server.settings import Settings
        from companion_server.surroundings import announced, surroundings

        settings = Settings.of(**self._settings)

        def done(failure: HeadtailError | None) -> None:
            told = announced(app, guard, settings) if failure is None else to_fault(failure)
            loaded.set_result(told if failure is None else {"fault": told})

        bundles = [Path(bundle) for bundle in self._bundles]
        store, guard, telemetry = self._ended.enter_context(
            surroundings(settings, bundles, url=self._url)
        )
        engine = RayEngine(
            self._tails,
            self._library,
            replicas=self._replicas,
            max_queue=settings.max_queue,
            max_wait_s=settings.max_wait_s,
        )
        app = create_app(
            store, settings, engine=engine, guard=guard, telemetry=telemetry, on_loaded=done
        )
        return app


class _Nothing:
    """An ASGI application that starts, so that `loaded` can be asked why there is no other."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while scope["type"] == "lifespan":
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

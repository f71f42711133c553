"""The deployment that phones reach: the same ASGI application, with a `RayEngine` behind it.

It stays on the machine that serves (`launch` pins it there), because bundles that were published,
keys and the audit log are files of that machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from companion_server.executor.faults import to_fault
from headtail.errors import HeadtailError

__all__ = ["Ingress"]


class Ingress:
    """Builds the application where it runs: Ray Serve calls `__serve_build_asgi_app__` there.

    `settings` are the fields of `Settings` as plain values, `replicas` the fewest there are.
    """

    def __init__(
        self,
        tails: Any,
        library: Any,
        bundles: Sequence[str],
        settings: Mapping[str, Any],
        replicas: int,
    ) -> None:
        self._tails, self._library, self._bundles = tails, library, bundles
        self._settings, self._replicas = dict(settings), replicas
        self._loaded: asyncio.Future[HeadtailError | None] | None = None

    def __serve_build_asgi_app__(self) -> Any:
        """The application; its lifespan loads every bundle."""
        from companion_server.app import create_app
        from companion_server.ray_serve.engine import RayEngine
        from companion_server.settings import Settings
        from companion_server.store import BundleStore

        settings = Settings.of(**self._settings)
        self._loaded = asyncio.get_running_loop().create_future()
        return create_app(
            BundleStore([Path(bundle) for bundle in self._bundles]),
            settings,
            engine=RayEngine(
                self._tails,
                self._library,
                replicas=self._replicas,
                max_queue=settings.max_queue,
            ),
            on_loaded=self._loaded.set_result,
        )

    async def loaded(self) -> dict[str, Any]:
        """Waits for every bundle to be proven on every replica; the fault if one could not be."""
        assert self._loaded is not None
        failure = await asyncio.shield(self._loaded)
        return {} if failure is None else {"fault": to_fault(failure)}

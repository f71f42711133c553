"""The web process: the store, the application and uvicorn around them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn
from fastapi import FastAPI

from companion_server.app import create_app, queue_limits
from companion_server.executor.places import ProcessPlace
from companion_server.guard import Guard
from companion_server.operations.limits import ConnectionLimits, raise_descriptor_limit
from companion_server.operations.metrics import Metrics
from companion_server.operations.protocol import ConnectionGuard, guarded_protocol
from companion_server.scheduler import LocalEngine
from companion_server.security.certificates import Renewal, tls_context
from companion_server.store import BundleStore
from companion_server.stream import websocket_options
from companion_server.surroundings import announced, surroundings
from headtail.errors import HeadtailError

if TYPE_CHECKING:
    from companion_server.processes import WebTask
    from companion_server.settings import Settings

__all__ = ["serve_web"]

RENEWAL_S = 60  # how often the files of an authority's certificate are looked at


def serve_web(
    task: WebTask, listener: socket.socket, ready: Callable[[dict[str, Any]], None]
) -> None:
    """Serve until SIGTERM, finish what is running, and return.

    `ready` is called once every tail is loaded, with fields of `Announcement`. Raises what opening
    a bundle or loading its tail raises.
    """
    settings = task.settings
    failures: list[HeadtailError] = []

    def loaded(failure: HeadtailError | None) -> None:
        if failure is None:
            ready(announced(app, guard, settings))
        else:
            failures.append(failure)
            server.should_exit = True

    with surroundings(settings, task.bundles, url=task.url) as (store, guard, telemetry):
        engine = LocalEngine([ProcessPlace(p) for p in task.lines], limits=queue_limits(settings))
        app = create_app(
            store, settings, engine=engine, guard=guard, telemetry=telemetry, on_loaded=loaded
        )
        server = _Server(_config(app, settings, guard, telemetry.metrics), store)
        server.run(sockets=[listener])
    if failures:
        raise failures[0]


class _Server(uvicorn.Server):
    """Lets nobody wait for a change of `store` any more once it is told to end."""

    def __init__(self, config: uvicorn.Config, store: BundleStore) -> None:
        super().__init__(config)
        self._store = store

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The signal's handler."""
        self._store.changes.end()
        super().handle_exit(sig, frame)


def _config(app: FastAPI, settings: Settings, guard: Guard, metrics: Metrics) -> uvicorn.Config:
    certificate = guard.certificate
    context = None if certificate is None else tls_context(certificate)
    renewal = None
    if certificate is not None and context is not None and not certificate.pinned:
        renewal = Renewal(certificate, context)
    connections = ConnectionGuard(
        ConnectionLimits(
            connections=settings.max_connections,
            body_s=settings.body_grace_s,
            body_bytes_per_s=settings.min_body_bytes_per_s,
        ),
        metrics.refused,
    )
    metrics.connections = lambda: connections.count
    raise_descriptor_limit(settings.max_connections)
    return uvicorn.Config(
        app,
        http=guarded_protocol(connections),
        loop="companion_server.operations.loops:guarded_loop",
        # uvicorn's own set-up closes every log handler, whoever it belongs to
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        # whoever connects is the peer: a header must not say who waits in whose turn
        proxy_headers=False,
        timeout_graceful_shutdown=round(settings.drain_s),
        ssl_context_factory=None if context is None else lambda *_: context,
        callback_notify=None if renewal is None else renewal.check,
        timeout_notify=RENEWAL_S,
        **websocket_options(settings.max_body_bytes),
    )

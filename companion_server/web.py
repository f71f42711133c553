"""The web process: the store, the application and uvicorn around them."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import uvicorn

from companion_server.app import create_app, queue_limits
from companion_server.executor.places import ProcessPlace
from companion_server.guard import Guard, certificate_of
from companion_server.scheduler import LocalEngine
from companion_server.security.certificates import tls_context
from companion_server.store import BundleStore
from companion_server.stream import websocket_options
from headtail.errors import HeadtailError

if TYPE_CHECKING:
    from companion_server.processes import WebTask

__all__ = ["serve_web"]

KEEP_ALIVE_S = 75  # longer than a user's pause between two pictures: a new connection costs 1 RTT


def serve_web(
    task: WebTask, listener: socket.socket, ready: Callable[[dict[str, Any]], None]
) -> None:
    """Serve until SIGTERM, finish what is running, and return.

    `ready` is called once every tail is loaded. Raises what opening a bundle or loading its tail
    raises.
    """
    settings = task.settings
    failures: list[HeadtailError] = []

    certificate = certificate_of(settings)
    context = None if certificate is None else tls_context(certificate)
    guard = Guard.of(settings, task.url, certificate)

    def loaded(failure: HeadtailError | None) -> None:
        if failure is None:
            ready({"pairing": guard.pairing.offer().uri if guard.pairing else ""})
        else:
            failures.append(failure)
            server.should_exit = True

    with contextlib.closing(guard), contextlib.closing(BundleStore(task.bundles)) as store:
        engine = LocalEngine([ProcessPlace(p) for p in task.lines], limits=queue_limits(settings))
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(store, settings, engine=engine, guard=guard, on_loaded=loaded),
                # uvicorn's own set-up closes every log handler, whoever it belongs to
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                date_header=False,
                # whoever connects is the peer: a header must not say who waits in whose turn
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=round(settings.drain_s),
                ssl_context_factory=None if context is None else lambda *_: context,
                **websocket_options(settings.max_body_bytes),
            )
        )
        server.run(sockets=[listener])
    if failures:
        raise failures[0]

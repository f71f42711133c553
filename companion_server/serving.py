"""Runs the application in this process under uvicorn until a signal ends it."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companion_server.settings import Settings
from headtail.errors import HeadtailError, UsageFault

if TYPE_CHECKING:
    from companion_server.store import BundleStore

__all__ = ["print_address", "serve"]

log = logging.getLogger(__name__)
KEEP_ALIVE_S = 75  # longer than a user's pause between two pictures: a new connection costs 1 RTT


def print_address(url: str) -> None:
    """The line `listening on http://HOST:PORT` on standard output."""
    print(f"listening on {url}", flush=True)


def serve(
    bundles: Sequence[Path], *, announce: Callable[[str], None] = print_address, **values: Any
) -> None:
    """Serve bundle directories until SIGINT or SIGTERM, finish what is running, and return.

    `values` are fields of `Settings`; what is not given comes from the environment.

    `announce` is called once, with `http://HOST:PORT`, when every tail is loaded and requests are
    accepted. Raises what opening a bundle raises before anything is bound,
    `UsageFault` for an address that cannot be bound, and what loading a tail raises.
    """
    from companion_server.store import BundleStore

    settings = Settings.from_env(**values)
    with (
        _signals_end_the_block(),
        contextlib.closing(BundleStore(bundles)) as store,
        _listen(settings) as listener,
    ):
        _run(store, settings, listener, announce)


def _run(
    store: BundleStore,
    settings: Settings,
    listener: socket.socket,
    announce: Callable[[str], None],
) -> None:
    import uvicorn

    from companion_server.app import create_app

    failures: list[HeadtailError] = []

    def loaded(failure: HeadtailError | None) -> None:
        if failure is None:
            announce(_url(listener))
        else:
            failures.append(failure)
            server.should_exit = True

    server = uvicorn.Server(
        uvicorn.Config(
            create_app(store, settings, on_loaded=loaded),
            # uvicorn's own set-up closes every log handler of the process, whoever it belongs to
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            timeout_keep_alive=KEEP_ALIVE_S,
        )
    )
    server.run(sockets=[listener])
    if failures:
        raise failures[0]


@contextlib.contextmanager
def _signals_end_the_block() -> Iterator[None]:
    # uvicorn drains on a signal and then raises it again; SIGTERM's default would end the process
    # there and then, before the caller could say its last word
    if threading.current_thread() is not threading.main_thread():
        yield  # signals go to the main thread, whose business they are
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        # from here on the kernel queues connections, so the address may be printed
        listener.listen()
    except OSError as error:
        listener.close()
        raise UsageFault(
            f"Cannot listen on {settings.host} port {settings.port}: {error}.",
            expected="The address belongs to this machine and the port is free.",
            remedy="Choose another port (0 picks a free one) or stop what uses it.",
        ) from None
    if not ipaddress.ip_address(listener.getsockname()[0]).is_loopback:
        log.warning("Anybody who can reach %s can use this server.", _url(listener))
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

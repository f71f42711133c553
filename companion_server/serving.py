"""`serve`: settings, an address, and the supervisor of the processes that answer there."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from companion_server.announcement import Announcement, print_announcement
from companion_server.guard import certificate_of, first_key
from companion_server.operations.configfile import load_settings
from companion_server.security.binding import check_binding
from companion_server.settings import Settings
from headtail.errors import UsageFault

__all__ = ["Announcement", "print_announcement", "serve"]

log = logging.getLogger(__name__)


def serve(
    bundles: Sequence[Path],
    *,
    announce: Callable[[Announcement], None] = print_announcement,
    config: Path | None = None,
    **values: Any,
) -> None:
    """Serve bundles until SIGINT or SIGTERM, finish what is running, and return.

    `bundles` are bundles' folders or zips, or folders of them, or a store. `values` are fields of
    `Settings`; what is not given comes from the environment, then from the TOML file `config`.

    `announce` is called once, when every tail is loaded and requests are accepted. Raises what
    opening a bundle raises, `UsageFault` for an address that cannot or must not be bound, and what
    loading a tail raises.
    """
    from companion_server.supervisor import supervise

    settings = load_settings(config, values)
    warning = check_binding(settings.host, keys=settings.auth, tls=settings.tls)
    if warning is not None:
        log.warning("%s", warning)
    listener = _listen(settings)
    with contextlib.closing(listener):
        certificate, url = certificate_of(settings), _url(listener, settings)
        told = Announcement(url, certificate.fingerprint if certificate else "")
        supervise(
            settings,
            bundles,
            (url, listener),
            # the key last: one that was made by a start that failed would never be shown
            lambda more: announce(dataclasses.replace(told, key=first_key(settings), **more)),
        )


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        # from here on the kernel queues connections, so the address may be printed
        listener.listen(settings.max_connections)
    except OSError as error:
        listener.close()
        raise UsageFault(
            f"Cannot listen on {settings.host} port {settings.port}: {error}.",
            expected="The address belongs to this machine and the port is free.",
            remedy="Choose another port (0 picks a free one) or stop what uses it.",
        ) from None
    return listener


def _url(listener: socket.socket, settings: Settings) -> str:
    host, port = listener.getsockname()[:2]
    scheme = "https" if settings.tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

"""A companion server with TLS, keys and pairing, in a thread of the test, and no bundles."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from tests.companion_server.security.test_routes import Served, serving


@contextlib.contextmanager
def paired_server(state: Path) -> Iterator[Served]:
    """Serve until the block ends; `.url`, `.pairing.offer().uri`, `.ring`, `.keys`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Served(state, listener.getsockname()[1])
        try:
            with serving(made.app, listener, made.certificate):
                yield made
        finally:
            made.audit.close()

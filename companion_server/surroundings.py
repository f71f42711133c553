"""What the application is put into, here and on a Ray cluster alike: guard, store and telemetry."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companion_server.guard import Guard, certificate_of
from companion_server.operations.metrics import Metrics
from companion_server.operations.telemetry import Telemetry
from companion_server.operations.tracing import open_tracer
from companion_server.store import BundleStore, StoreRules

if TYPE_CHECKING:
    from fastapi import FastAPI

    from companion_server.settings import Settings

__all__ = ["announced", "surroundings"]


@contextlib.contextmanager
def surroundings(
    settings: Settings, bundles: Sequence[Path], *, url: str
) -> Iterator[tuple[BundleStore, Guard, Telemetry]]:
    """Opened, and closed at the end; `url` is where the server listens.

    Raises what opening a bundle, the keys or the certificate raises.
    """
    rules = StoreRules(quota_bytes=settings.max_store_bytes, trusted_keys=settings.trusted_keys)
    tracer = None if settings.otlp_endpoint is None else open_tracer(settings.otlp_endpoint)
    with contextlib.ExitStack() as opened:
        if tracer is not None:
            opened.callback(tracer.close)
        guard = Guard.of(settings, url, certificate_of(settings))
        opened.callback(guard.close)
        store = BundleStore(bundles, rules=rules, root=settings.state_dir / "store")
        opened.callback(store.close)
        yield store, guard, Telemetry(Metrics(), tracer=tracer)


def announced(app: FastAPI, guard: Guard, settings: Settings) -> dict[str, Any]:
    """The fields of `Announcement` that are known once `app` is ready, with a new pairing code."""
    port = app.state.grpc_port
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return {
        "pairing": guard.pairing.offer().uri if guard.pairing else "",
        "grpc": "" if port is None else f"{host}:{port}",
    }

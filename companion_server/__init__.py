"""The companion server: bundles out, tails in, over the Open Inference Protocol v2.

    serving.py     `serve`: settings, address        supervisor.py  keeps processes alive
    web.py         the web process                   app.py         the ASGI application
    routes_*.py, stream.py, grpc_*.py: protocols     inference.py   one request
    scheduler.py   queue, batches, admission         executor/      the line to compute
    tails/         programs, run the fastest way     store/         bundles held
    security/      keys, TLS, pairing, audit         operations/    metrics, traces, logs

Exports are lazy: importing this package imports neither FastAPI nor torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from companion_server.app import create_app
    from companion_server.serving import serve
    from companion_server.settings import Settings
    from companion_server.store import BundleStore

__all__ = ["BundleStore", "Settings", "create_app", "serve"]

_HOME = {
    "BundleStore": "companion_server.store",
    "Settings": "companion_server.settings",
    "create_app": "companion_server.app",
    "serve": "companion_server.serving",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)

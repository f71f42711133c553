"""The companion server: bundles out, tails in, over the Open Inference Protocol v2.

    app.py            the application factory         settings.py   what can be set
    routes_oip.py     health, metadata, inference     serving.py    the process: bind, announce, run
    routes_bundles.py listing and download            problems.py   error -> status and body
    inference.py      one request, bytes to bytes     bodies.py     reading, (de)compression, limits
    tails.py          torch, on its one thread        store.py      the bundles held
                                                      ranges.py     the Range header

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

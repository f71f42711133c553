"""Headtail: a PyTorch model on a phone, its heavy layers on a companion server, all of it proven.

>>> import headtail
>>> result = headtail.export(model, (example,), output="model.bundle")   # doctest: +SKIP
>>> bundle = headtail.open_bundle("model.bundle")                        # doctest: +SKIP

Importing this package imports neither torch nor numpy; the names below load on first use (PEP 562).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headtail.api import export, verify
    from headtail.bundle import open_bundle

__all__ = ["__version__", "export", "open_bundle", "verify"]

__version__ = "0.1.0"
_LAZY = {
    "export": "headtail.api",
    "open_bundle": "headtail.bundle",
    "verify": "headtail.api",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'headtail' has no attribute {name!r}; it has {__all__}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

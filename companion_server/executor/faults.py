"""An error of the tree across a process border: as plain JSON, and back as the same class."""

from __future__ import annotations

from typing import Any

from companion_server.conditions import NotReady
from headtail.errors import (
    BundleMismatch,
    EnvironmentFault,
    GateFailed,
    HeadtailError,
    IntegrityFault,
    SchemaFault,
    TensorMismatch,
    TooLarge,
    UsageFault,
    WireFault,
)

__all__ = ["from_fault", "to_fault"]

_PLAIN: dict[str, type[HeadtailError]] = {
    kind.__name__: kind
    for kind in (
        EnvironmentFault,
        GateFailed,
        NotReady,
        TensorMismatch,
        TooLarge,
        UsageFault,
        WireFault,
    )
}


def to_fault(error: Exception) -> dict[str, Any]:
    """What `from_fault` makes the error of again."""
    if not isinstance(error, HeadtailError):
        return {
            "kind": "",
            "what": f"{type(error).__name__}: {str(error)[:500]}.",
            "expected": "A tail runs without an error.",
            "remedy": "See the server's log.",
        }
    told: dict[str, Any] = {
        "kind": type(error).__name__,
        "what": error.what,
        "expected": error.expected,
        "remedy": error.remedy,
    }
    for name in ("file", "path", "held"):
        if hasattr(error, name):
            told[name] = getattr(error, name)
    return told


def from_fault(fault: dict[str, Any]) -> HeadtailError:
    """The error; a class that cannot be made again here becomes the nearest above it."""
    texts = {"expected": fault["expected"], "remedy": fault["remedy"]}
    kind = fault["kind"]
    if kind == "BundleMismatch":
        return BundleMismatch(fault["what"], held=fault["held"], **texts)
    if kind == "IntegrityFault":
        return IntegrityFault(fault["what"], file=fault["file"], **texts)
    if kind == "SchemaFault":
        return SchemaFault(fault["what"].split(" @ ")[0], fault["path"], remedy=fault["remedy"])
    return _PLAIN.get(kind, HeadtailError)(fault["what"], **texts)

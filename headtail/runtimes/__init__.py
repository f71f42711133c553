"""Phone runtimes behind one interface; nothing heavy is imported until a model is loaded."""

from __future__ import annotations

from headtail.errors import UnknownName
from headtail.runtimes.base import Capability, Runtime, Session

__all__ = ["Capability", "Runtime", "Session", "desk_runtimes", "runtime_of"]


def desk_runtimes() -> dict[str, Runtime]:
    """Format -> the runtime that runs it on a desk (Linux, macOS, Windows)."""
    from headtail.runtimes.executorch_desk import ExecuTorchDesk
    from headtail.runtimes.litert_desk import LiteRTDesk

    return {"litert": LiteRTDesk(), "executorch": ExecuTorchDesk()}


def runtime_of(format: str) -> Runtime:  # noqa: A002  # the field's word
    """The desk runtime for a format; `UnknownName` lists those there are."""
    runtimes = desk_runtimes()
    if format not in runtimes:
        raise UnknownName("runtime for format", format, runtimes)
    return runtimes[format]

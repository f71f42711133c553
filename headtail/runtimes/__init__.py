"""Phone runtimes behind one interface; nothing heavy is imported until a model is loaded."""

from __future__ import annotations

from headtail.runtimes.base import Capability, Runtime, Session

__all__ = ["Capability", "Runtime", "Session", "desk_runtimes"]


def desk_runtimes() -> dict[str, Runtime]:
    """Format -> the runtime that runs it on a desk (Linux, macOS, Windows)."""
    from headtail.runtimes.executorch_desk import ExecuTorchDesk
    from headtail.runtimes.litert_desk import LiteRTDesk

    return {"litert": LiteRTDesk(), "executorch": ExecuTorchDesk()}

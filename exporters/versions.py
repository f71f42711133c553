"""Versions of every tool that had a hand in a bundle."""

from __future__ import annotations

import importlib.metadata
import platform

__all__ = ["tool_versions"]

_TOOLS = (
    "torch",
    "executorch",
    "coremltools",
    "litert-torch",
    "ai-edge-litert",
    "numpy",
    "headtail",
)


def tool_versions() -> dict[str, str]:
    """Version of every tool that had a hand in a bundle."""
    found = {"python": platform.python_version()}
    for tool in _TOOLS:
        try:
            found[tool] = importlib.metadata.version(tool)
        except importlib.metadata.PackageNotFoundError:
            found[tool] = "source tree" if tool == "headtail" else "absent"
    return found

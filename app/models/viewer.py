"""Where a bundle is used, as the Models page knows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Viewer"]


@dataclass(frozen=True)
class Viewer:
    """Where a bundle is used: `open` one and show what it sees, `close` the one that is open."""

    open: Callable[[Path], None]
    close: Callable[[], None]

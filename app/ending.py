"""How the app ends: all its parts are told to stop first, and waited for together after that."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

__all__ = ["ENDS_S", "Close", "close_all", "ended"]

ENDS_S = 5.0  # that a person waits for an app to go


class Close(Protocol):
    """Tells a part to stop, which may be told again, and waits so long for it; whether it did."""

    def __call__(self, *, timeout_s: float) -> bool:
        """Stop, and wait `timeout_s` seconds at most."""
        ...


def close_all(parts: Sequence[Close], *, timeout_s: float) -> bool:
    """Close them all within `timeout_s` seconds together; False if one was still at work then."""
    end_s = time.monotonic() + timeout_s
    for close in parts:
        close(timeout_s=0.0)
    gone = [close(timeout_s=max(0.0, end_s - time.monotonic())) for close in parts]
    return all(gone)  # every one was waited for


def ended(pool: ThreadPoolExecutor, *, timeout_s: float) -> bool:
    """Wait for the thread of a pool that was shut down; whether it ended."""
    # the pool's own way to wait knows no limit
    waiting = threading.Thread(target=pool.shutdown, name="ending", daemon=True)
    waiting.start()
    waiting.join(timeout_s)
    return not waiting.is_alive()

"""Resident memory of this process, for what a loaded model costs."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["growth_since", "resident_bytes"]

_STATM = Path("/proc/self/statm")  # proc_pid_statm(5); Android gives a process its own


def resident_bytes() -> int | None:
    """Bytes of this process that are in memory now; None where the system does not tell."""
    try:
        pages = int(_STATM.read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def growth_since(before: int | None) -> int | None:
    """By how many bytes `resident_bytes()` is above `before`; 0 if it is below."""
    now = resident_bytes()
    if before is None or now is None:
        return None
    return max(0, now - before)

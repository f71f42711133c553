"""How much memory this process holds that no file backs: what the kernel calls RssAnon."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from pathlib import Path

__all__ = ["anonymous_bytes"]


def anonymous_bytes() -> int | None:
    """Resident bytes that cannot be read from a file again, after freed memory was given back.

    https://docs.kernel.org/filesystems/proc.html; None where there is no /proc.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) << 10
    return None

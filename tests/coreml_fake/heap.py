"""How much of the C heap is in use, for what Python's collector does not see."""

from __future__ import annotations

import ctypes

__all__ = ["heap_in_use"]


class _MallInfo(ctypes.Structure):
    """`struct mallinfo2` of glibc 2.33 and newer (mallinfo(3))."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def heap_in_use() -> int:
    """Bytes that this process has from malloc and has not freed."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _MallInfo
    return int(mallinfo().uordblks)

"""Errors that only a store has, each with its HTTP status.

StorageFull      507   no room: the disk is full, or the store's quota is reached
StoreConflict    409   the store's present state forbids it
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from headtail.errors import EnvironmentFault, UsageFault

__all__ = ["StorageFull", "StoreConflict", "full_disk_refused"]

# a file over RLIMIT_FSIZE (EFBIG) and a user over quota (EDQUOT) want for room like a full disk
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StorageFull(EnvironmentFault):
    """There is no room for what was to be stored; nothing of it is visible."""

    http_status = 507


class StoreConflict(UsageFault):
    """The request is well formed, but the store's present state forbids it."""

    http_status = 409


@contextlib.contextmanager
def full_disk_refused(folder: Path) -> Iterator[None]:
    """Inside, the system's "no room" while writing to `folder` is raised as `StorageFull`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise StorageFull(
            f"There is no room in {folder}: {error.strerror}.",
            expected="A bundle needs its size twice: its files, and their packed copy.",
            remedy="Free some space there, remove old versions, and publish again.",
        ) from None

"""Files that only their owner may read: written whole, refused if others could have.

A secret that was readable for an instant is no secret, so a file is born with mode 0600 and gets
its name only when it is complete and on the disk (write, fsync, rename, fsync of the folder).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from headtail.errors import EnvironmentFault, TooLarge

__all__ = [
    "give_to_owner_of_folder",
    "locked",
    "private_folder",
    "read_private",
    "write_private",
]

OTHERS = stat.S_IRWXG | stat.S_IRWXO
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def private_folder(folder: Path) -> Path:
    """`folder`, made with mode 0700 if it is not there.

    Raises `EnvironmentFault` if others may write to it: they could put their own files there.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & OTHERS_WRITE:
        raise EnvironmentFault(
            f"Folder {folder} has mode {mode:04o}.",
            expected="Only its owner may write to the server's state folder.",
            remedy=f"Run: chmod go-w {folder}",
        )
    return folder


def read_private(path: Path, *, limit: int) -> tuple[bytes, os.stat_result]:
    """Bytes of a file, and its status as of the same open.

    Raises `EnvironmentFault` for what is no plain file or what others may read, `TooLarge` past
    `limit` bytes, and `FileNotFoundError`.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        mode = stat.S_IMODE(status.st_mode)
        if not stat.S_ISREG(status.st_mode) or mode & OTHERS:
            raise EnvironmentFault(
                f"{path} has mode {mode:04o} and may be read or changed by others.",
                expected="A file with secrets is a plain file of mode 0600.",
                remedy=f"Run: chmod 600 {path}, and rotate what it holds if others saw it.",
            )
        data = file.read(limit + 1)
    if len(data) > limit:
        raise TooLarge(
            f"{path} has more than {limit} bytes.",
            expected=f"At most {limit}.",
            remedy="Restore it from a copy, or begin a new one.",
        )
    return data, status


def write_private(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, all or nothing, mode 0600, owned by the folder's owner."""
    with _beside(path) as (descriptor, temporary):
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            give_to_owner_of_folder(file.fileno(), path.parent)
        temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def give_to_owner_of_folder(descriptor: int, folder: Path) -> None:
    """What root makes in a service's folder has to be read by the service.

    By descriptor: under a name, the service could have put a link to a file of root's meanwhile.
    """
    owner = folder.stat()
    with contextlib.suppress(PermissionError):  # not root: it is ours already
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process (and thread) at a time; the folder itself is what is locked."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[tuple[int, Path]]:
    # mkstemp makes the file with mode 0600, whatever the umask
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        yield descriptor, temporary
    finally:
        temporary.unlink(missing_ok=True)

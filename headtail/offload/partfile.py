"""The file that collects a download: named after the bytes it is to hold, locked while written."""

from __future__ import annotations

import contextlib
import errno
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from headtail.errors import EnvironmentFault, UsageFault

__all__ = [
    "DiskFull",
    "Part",
    "full_disk_told",
    "list_parts",
    "open_part",
    "part_path",
]

_NAME = re.compile(r"\.(?P<name>.+\.bundle)\.(?P<digest>[0-9a-f]{64})\.part")
LOOKED_S = 0.1  # far longer than anybody looks
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DiskFull(EnvironmentFault):
    """The file system, or what this user may use of it, has no room left."""


@dataclass(frozen=True)
class Part:
    """An unfinished download: of the zip with SHA-256 `digest`, `held` bytes of it, on its way to
    `destination`. `busy`: another process, or another thread of this one, writes it now.
    """

    path: Path
    destination: Path
    digest: str
    held: int
    busy: bool


def part_path(destination: Path, digest: str) -> Path:
    """Where the zip with this SHA-256 is collected that becomes `destination`."""
    return destination.absolute().parent / f".{destination.name}.{digest}.part"


def list_parts(folder: Path) -> list[Part]:
    """The unfinished downloads into `folder`, by name; none if it does not exist."""
    parts = []
    for path in sorted(folder.glob(".*.part")):
        named = _NAME.fullmatch(path.name)
        with contextlib.suppress(FileNotFoundError):  # finished in this very moment
            if named is not None and path.is_file():
                destination = folder / named["name"]
                busy = _is_busy(path)
                parts.append(Part(path, destination, named["digest"], path.stat().st_size, busy))
    return parts


@contextlib.contextmanager
def open_part(path: Path) -> Iterator[BinaryIO]:
    """The file, open to append, for this caller alone; removed again if it stayed empty.

    Raises `UsageFault` if somebody else writes it. Whoever only looks whether it is written holds
    the lock for an instant, which is waited for. Windows has no such lock: there nothing keeps
    two processes apart.
    """
    empty = False
    try:
        with path.open("a+b") as file:
            end_s = time.monotonic() + LOOKED_S
            while not (held := _lock(file)) and time.monotonic() < end_s:
                time.sleep(LOOKED_S / 50)
            if not held:
                raise UsageFault(
                    f"{path.name} is being downloaded by somebody else.",
                    expected="One at a time writes a download.",
                    remedy="Wait until that is finished, or end the other process.",
                )
            try:
                yield file
            finally:
                empty = file.seek(0, 2) == 0
    finally:
        if empty:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def full_disk_told(path: Path) -> Iterator[None]:
    """A write that found no room, as `DiskFull`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFull(
            f"There is no room for {path.name} ({error.strerror}).",
            expected="What has come is kept, and nothing else was changed.",
            remedy="Delete something, then download it again to go on from there.",
        ) from None


def _lock(file: BinaryIO) -> bool:
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_busy(path: Path) -> bool:
    with path.open("rb") as file:
        return not _lock(file)

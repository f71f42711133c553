"""Files that this server built from tails: code for this machine, kept between starts.

    <folder>/<key>.json    {"state": "building", "attempts": n} while it is built, then
                           {"state": "ready", "sha256": ..., "bytes": ...} or
                           {"state": "failed", "reason": ...}
    <folder>/<key>.code    the file
    <folder>/<key>.trial   while a process tries the file: its id, and how many have died of that

Loading such a file executes it. So the folder belongs to this user and nobody else may enter it
(mode 0700, or it is refused); a file appears by rename when it is whole; it is loaded only if its
SHA-256 is the recorded one; and one that ended two processes which tried it is not tried again.
The key is a digest of the bundle, the segment, the backend, and everything of this machine that the
code depends on: versions and CPU features.
"""

from __future__ import annotations

import hashlib
import os
import platform
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from headtail.errors import EnvironmentFault, SchemaFault
from headtail.strictjson import canonical_bytes, parse

__all__ = ["MOST_ATTEMPTS", "BuiltFiles", "machine_digest"]

FORMAT = 1  # of what is built; another one makes every file be built again
MOST_ATTEMPTS = 3  # a builder that ends without a word may have been killed for other reasons
MOST_DEATHS = 2
MOST_BYTES = 4 << 30


class BuiltFiles:
    """The folder. Several processes may use it at once; one of them builds (`builder.py`)."""

    def __init__(self, folder: Path, *, most_bytes: int = MOST_BYTES) -> None:
        """Make the folder; `EnvironmentFault` if it is another user's or open to others."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = folder.lstat()
        safe = stat.S_ISDIR(found.st_mode) and not stat.S_IMODE(found.st_mode) & 0o077
        if not safe or found.st_uid != os.geteuid():
            raise EnvironmentFault(
                f"{folder} has mode {stat.S_IMODE(found.st_mode):o} and belongs to user "
                f"{found.st_uid}.",
                expected=f"Code is executed from it, so it belongs to user {os.geteuid()} alone.",
                remedy=f"Run `chmod 700 {folder}`, or choose another state directory.",
            )
        self.folder = folder
        self._most_bytes = most_bytes

    def key(self, bundle_id: str, entry: str, backend: str) -> str:
        """Where code for one segment of a bundle is kept."""
        named = {"bundle": bundle_id, "entry": entry, "backend": backend, "format": FORMAT}
        return hashlib.sha256(canonical_bytes({**named, "machine": machine_digest()})).hexdigest()

    def record(self, key: str) -> Mapping[str, Any]:
        """What is known of `key`; empty if nothing is, or if the record cannot be read."""
        try:
            value = parse((self.folder / f"{key}.json").read_bytes())
        except (OSError, SchemaFault):
            return {}
        return value if isinstance(value, dict) else {}

    def find(self, key: str) -> Path | None:
        """The file, if it is there and unchanged; what is not is removed, to be built again."""
        record, path = self.record(key), self.folder / f"{key}.code"
        if record.get("state") != "ready":
            return None
        try:
            whole = stat.S_ISREG(path.lstat().st_mode) and _sha256(path) == record.get("sha256")
        except OSError:
            whole = False
        if whole:
            with suppress(OSError):
                os.utime(path)
            return path
        self.remove(key)
        return None

    def remove(self, key: str) -> None:
        """Forget everything about `key`."""
        for kind in ("json", "code", "trial"):
            (self.folder / f"{key}.{kind}").unlink(missing_ok=True)

    def attempt(self, key: str) -> int:
        """A build begins; which one of this key it is."""
        attempts = self.record(key).get("attempts", 0)
        attempts = attempts + 1 if isinstance(attempts, int) else 1
        self._write(key, {"state": "building", "attempts": attempts})
        return attempts

    def keep(self, key: str, made: Path) -> None:
        """Take over a file that was built in this folder's file system and proven."""
        made.chmod(0o600)
        with made.open("rb") as file:
            os.fsync(file.fileno())
        record = {"state": "ready", "sha256": _sha256(made), "bytes": made.stat().st_size}
        made.rename(self.folder / f"{key}.code")
        self._write(key, record)
        self._shrink(key)

    def fail(self, key: str, reason: str) -> None:
        """It cannot be built here; it is not tried again with these versions."""
        (self.folder / f"{key}.code").unlink(missing_ok=True)
        self._write(key, {"state": "failed", "reason": reason})

    def begin_trial(self, key: str) -> bool:
        """Mark that this process is about to execute the file; False if it has ended others."""
        mark = self.folder / f"{key}.trial"
        deaths = 0
        with suppress(OSError, ValueError):
            process, deaths = map(int, mark.read_text().split())
            if process != os.getpid() and not _alive(process):
                deaths += 1  # perhaps of something else: one is forgiven
        if deaths >= MOST_DEATHS:
            self.fail(key, f"it ended {deaths} processes that tried it")
            mark.unlink(missing_ok=True)
            return False
        mark.write_text(f"{os.getpid()} {deaths}")
        return True

    def end_trial(self, key: str) -> None:
        """The process lives."""
        (self.folder / f"{key}.trial").unlink(missing_ok=True)

    def _write(self, key: str, record: Mapping[str, Any]) -> None:
        partial = self.folder / f".{key}.{os.getpid()}.json"
        partial.write_bytes(canonical_bytes(dict(record)))
        partial.rename(self.folder / f"{key}.json")

    def _shrink(self, kept: str) -> None:
        files = [path for path in self.folder.glob("*.code") if path.stem != kept]
        files.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        total = (self.folder / f"{kept}.code").stat().st_size
        for path in files:
            total += path.stat().st_size
            if total > self._most_bytes:
                self.remove(path.stem)


def machine_digest() -> str:
    """SHA-256 (hex) of what built code depends on: versions of the tools, and the CPU's features.

    On Linux the features are those of /proc/cpuinfo; elsewhere the processor's name stands for
    them.
    """
    import importlib.metadata

    import torch

    try:
        executorch = importlib.metadata.version("executorch")
    except importlib.metadata.PackageNotFoundError:
        executorch = ""
    features = platform.processor()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
        features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    parts = [torch.__version__, executorch, platform.machine(), features, platform.libc_ver()[1]]
    return hashlib.sha256(canonical_bytes(parts)).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

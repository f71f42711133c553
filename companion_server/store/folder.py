"""The store's folder on disk: what is in `bundles/` is whole, whatever happened and whenever.

A bundle is unpacked, checked and synced in `incoming/`, then renamed to `bundles/<id>.bundle`; a
removed one is renamed back to `incoming/` before its files are deleted. Inside one file system
renaming is atomic (https://pubs.opengroup.org/onlinepubs/9799919799/functions/rename.html), so a
process killed at any point leaves rubbish in `incoming/` at most, which the next one clears.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from companion_server.store.faults import full_disk_refused
from headtail.bundle import Bundle, unpack_zip
from headtail.bundle.reading import integrity
from headtail.bundle.staging import SUFFIX
from headtail.errors import EnvironmentFault

__all__ = ["ALIASES", "BUNDLES", "INCOMING", "StoreFolder", "is_bundle_id"]

BUNDLES, INCOMING, ALIASES, LOCK = "bundles", "incoming", "aliases.json", ".lock"
PART = ".part"  # an upload under way; see uploads.py
_ID = re.compile(r"[0-9a-f]{64}")


def is_bundle_id(text: str) -> bool:
    """Whether it is a SHA-256 in lower-case hex."""
    return _ID.fullmatch(text) is not None


class StoreFolder:
    """The folder `root`; nothing is made in it before something is to be written.

    Methods block and may be called from any thread. `read_only` takes no lock, clears nothing and
    refuses to write: for processes beside the one that owns the store.
    """

    def __init__(self, root: Path, *, read_only: bool = False) -> None:
        self.root = root.resolve()
        self.read_only = read_only
        self._lock: IO[bytes] | None = None
        self._turn = threading.Lock()
        if not read_only and self.bundles.is_dir() and os.access(self.root, os.W_OK):
            self.prepare()

    @property
    def bundles(self) -> Path:
        """Where published bundles lie."""
        return self.root / BUNDLES

    @property
    def incoming(self) -> Path:
        """Where uploads and removals are under way."""
        return self.root / INCOMING

    @property
    def aliases(self) -> Path:
        """The file of aliases, which need not exist."""
        return self.root / ALIASES

    def close(self) -> None:
        """Let another process write here."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def prepare(self) -> None:
        """Own the folder: make what is missing, lock it, clear what a crash left.

        Raises `EnvironmentFault` if another process owns it or it cannot be written.
        """
        with self._turn:  # two first uploads come on two threads
            if self._lock is None:
                self._lock = self._locked()
                self._clear()

    def _locked(self) -> IO[bytes]:
        if self.read_only:
            raise _not_ours(self.root, "was opened to read only")
        with full_disk_refused(self.root), _permitted(self.root):
            self.bundles.mkdir(parents=True, exist_ok=True)
            self.incoming.mkdir(exist_ok=True)
            lock = (self.root / LOCK).open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise _not_ours(self.root, "belongs to another server that is running") from None
        return lock

    def held(self) -> list[tuple[str, Path]]:
        """`(bundle_id, path)` of every published bundle, oldest publication first."""
        if not self.bundles.is_dir():
            return []
        found = [
            (path.stat().st_mtime_ns, path.name.removesuffix(SUFFIX), path)
            for path in self.bundles.iterdir()
            if path.name.endswith(SUFFIX) and is_bundle_id(path.name.removesuffix(SUFFIX))
        ]
        return [(bundle_id, path) for _, bundle_id, path in sorted(found)]

    def size(self) -> int:
        """Bytes of all files in it, uploads included."""
        return sum(_sizes(self.bundles)) + sum(_sizes(self.incoming))

    @contextlib.contextmanager
    def staged(self, archive: Path, bundle_id: str) -> Iterator[Bundle]:
        """Unpack and check `archive` in `incoming/`; gone after the block unless published.

        Raises what `unpack_zip` raises, `IntegrityFault` if it is another bundle, `StorageFull`.
        """
        self.prepare()
        work = Path(tempfile.mkdtemp(prefix="unpack-", dir=self.incoming))
        try:
            with full_disk_refused(self.root):
                bundle = unpack_zip(archive, work / f"{bundle_id}{SUFFIX}")
            if bundle.manifest.bundle_id != bundle_id:
                raise integrity(
                    "manifest.json",
                    f"is that of bundle {bundle.manifest.bundle_id}",
                    f"The upload is of {bundle_id}.",
                )
            yield bundle
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def publish(self, bundle: Bundle) -> Bundle:
        """Rename a staged bundle into place; what stood there, of the same id, is replaced.

        Both are synced before, so after a loss of power it is there whole or not at all.
        """
        target = self.bundles / f"{bundle.manifest.bundle_id}{SUFFIX}"
        with full_disk_refused(self.root):
            self.discard(bundle.manifest.bundle_id)
            bundle.path.rename(target)
            sync_folder(self.bundles)
        return Bundle(target, bundle.manifest)

    def discard(self, bundle_id: str) -> None:
        """Remove a published bundle, at once for everybody; files that are open stay readable."""
        target = self.bundles / f"{bundle_id}{SUFFIX}"
        if not os.path.lexists(target):
            return
        self.prepare()
        work = Path(tempfile.mkdtemp(prefix="removed-", dir=self.incoming))
        try:
            target.rename(work / target.name)
            sync_folder(self.bundles)
        except FileNotFoundError:
            pass  # somebody's rm -r was quicker
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _clear(self) -> None:
        for path in self.incoming.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif not path.name.endswith(PART):  # uploads can be continued
                path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` last through a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sizes(folder: Path) -> Iterator[int]:
    for path, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                yield Path(path, name).lstat().st_size


@contextlib.contextmanager
def _permitted(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise _not_ours(root, f"cannot be written ({error.strerror})") from None


def _not_ours(root: Path, why: str) -> EnvironmentFault:
    return EnvironmentFault(
        f"The store {root} {why}.",
        expected="One server owns a store's folder and writes there.",
        remedy="Give each server its own folder, or let this one read bundles given one by one.",
    )

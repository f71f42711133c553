"""The folder of installed bundles.

    <folder>/NAME-<12 hex>.bundle        installed; the hex are the first of the bundle id
    <folder>/.NAME-....bundle.<sha>.part a download that was not finished (`headtail.offload`)
    <folder>/.deleted-...                a bundle on its way out

Nothing in it is ever changed in place: a bundle appears by a rename and disappears by a rename, so
that a crash leaves all of it or nothing. What a crash did leave is removed at the next look. Blocks
on the disk, hence never called on the UI thread.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from headtail.bundle import Bundle, open_bundle, unpack_zip
from headtail.bundle.copying import copy_bundle
from headtail.bundle.reading import load_manifest
from headtail.bundle.staging import SUFFIX
from headtail.bundle.verifying import check_layout
from headtail.errors import EnvironmentFault, HeadtailError, UsageFault
from headtail.manifest import MANIFEST, Manifest
from headtail.offload.partfile import Part, full_disk_told, list_parts, part_path

__all__ = ["Found", "Library", "NoRoom", "Shelf"]

DELETED = ".deleted-"
PARTIAL = "partial-"  # what `headtail.bundle.staging` calls its own, which has no lock
LEFT_OVER_S = 3600.0  # a hidden folder that nobody wrote to for so long belongs to no one
_ODD = re.compile(r"[^A-Za-z0-9._-]+")
MAX_NAME = 60


class NoRoom(EnvironmentFault):
    """A bundle would exceed what the installed ones may take together, or what the disk has."""


@dataclass(frozen=True)
class Found:
    """One bundle of the folder: its manifest, or the fault for which there is none to trust.

    `stamp` is another one as soon as a file of it was written to.
    """

    path: Path
    bytes: int
    installed_s: float
    manifest: Manifest | None
    fault: HeadtailError | None
    stamp: int


@dataclass(frozen=True)
class Shelf:
    """Everything in the folder; `used` is what it takes on disk, unfinished downloads included."""

    found: tuple[Found, ...]
    parts: tuple[Part, ...]
    used: int


class Library:
    """See the module docstring; `folder` need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def look(self) -> Shelf:
        """What is there, the bundle installed last first; names and sizes are compared, no hash."""
        if not self.folder.is_dir():
            return Shelf((), (), 0)
        self._clear()
        paths = [p for p in self.folder.glob(f"*{SUFFIX}") if not p.name.startswith(".")]
        found = sorted((_examine(path) for path in paths), key=lambda f: (-f.installed_s, f.path))
        return Shelf(tuple(found), tuple(list_parts(self.folder)), _tree_size(self.folder))

    def destination(self, name: str, bundle_id: str) -> Path:
        """Where a bundle is installed; both may be what a server says."""
        plain = _ODD.sub("_", name).strip("._-")[:MAX_NAME] or "model"
        return self.folder / f"{plain}-{_ODD.sub('_', bundle_id)[:12]}{SUFFIX}"

    def part(self, name: str, bundle_id: str, digest: str) -> Path:
        """Where a download of it is collected, whose zip has this SHA-256."""
        return part_path(self.destination(name, bundle_id), digest)

    def verify(self, path: Path) -> None:
        """Compare every byte with the manifest; raises what `open_bundle` raises."""
        open_bundle(path)

    def install(self, source: Path, *, quota: int) -> Path:
        """Check and copy a bundle's folder or `.zip`; where it is now.

        Raises what `open_bundle` raises, `NoRoom`, `DiskFull`, and `UsageFault` if it is there.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        size = _tree_size(source)
        self.check_room(size, used=self.look().used, quota=quota)
        with (
            full_disk_told(source),
            tempfile.TemporaryDirectory(prefix=".install-", dir=self.folder) as work,
        ):
            staged = Path(work) / f"model{SUFFIX}"
            if source.is_dir():
                bundle = copy_bundle(Bundle(source, load_manifest(source)), staged)
            else:
                bundle = unpack_zip(source, staged)
            manifest = bundle.manifest
            destination = self.destination(manifest.name, manifest.bundle_id)
            if os.path.lexists(destination):
                raise UsageFault(
                    f"{manifest.name} is installed already.",
                    expected="Every bundle is installed once.",
                    remedy=f"Delete the installed one first if it is damaged ({destination.name}).",
                )
            bundle.path.rename(destination)
        return destination

    def delete(self, path: Path) -> None:
        """Remove a bundle or an unfinished download; what is gone already is gone."""
        if path.parent != self.folder.absolute() and path.parent != self.folder:
            raise UsageFault(
                f"{path} is not an installed bundle.",
                expected=f"Only what lies in {self.folder} is deleted.",
                remedy="Delete it yourself.",
            )
        doomed = self.folder / f"{DELETED}{time.time_ns()}"
        with contextlib.suppress(FileNotFoundError):
            path.rename(doomed)
        _remove(doomed)

    def check_room(self, size: int, *, used: int, quota: int, held: int = 0) -> None:
        """Raise `NoRoom` if `size` more bytes, of which `held` are here, exceed `quota` or the
        disk, where a bundle takes twice its size while it is unpacked.
        """
        free = shutil.disk_usage(_existing(self.folder)).free
        if used - held + size > quota:
            raise NoRoom(
                f"{_mb(size)} more would make {_mb(used - held + size)} of models.",
                expected=f"At most {_mb(quota)} are kept on this device.",
                remedy="Delete a model that you no longer use, or allow more in Settings.",
            )
        if 2 * size - held > free:
            raise NoRoom(
                f"This device has {_mb(free)} left.",
                expected=f"{_mb(2 * size - held)} are needed while the bundle is unpacked.",
                remedy="Free some space, on the device or by deleting a model.",
            )

    def _clear(self) -> None:
        """Remove what a crash left: what was to be deleted, and stagings nobody writes to."""
        busy = [part.destination.name for part in list_parts(self.folder) if part.busy]
        for path in self.folder.iterdir():
            if path.name.startswith(DELETED) or (
                _is_staging(path)
                and not any(path.name.startswith(f".{name}.") for name in busy)
                and (_of_a_download(path) or _age_s(path) > LEFT_OVER_S)
            ):
                _remove(path)


def _is_staging(path: Path) -> bool:
    return path.name.startswith(".") and not path.name.endswith(".part")


def _of_a_download(path: Path) -> bool:
    """Whether it is unpacked under the lock of its `.part`, so that without one it is left over."""
    name = path.name.partition(f"{SUFFIX}.")[2]
    return bool(name) and not name.startswith(PARTIAL)


def _examine(path: Path) -> Found:
    manifest: Manifest | None = None
    fault: HeadtailError | None = None
    try:
        manifest = load_manifest(path)
        check_layout(Bundle(path, manifest))
    except HeadtailError as error:
        fault = error
    newest = path / MANIFEST
    status = (newest if newest.exists() else path).lstat()
    files = sorted((f.st_ino, f.st_size, f.st_mtime_ns, f.st_ctime_ns) for f in _files(path))
    stamp = hash(tuple(files))
    return Found(path, _tree_size(path), status.st_mtime, manifest, fault, stamp)


def _files(path: Path) -> Iterator[os.stat_result]:
    with contextlib.suppress(OSError):  # somebody may be deleting what is looked at
        yield path.lstat()
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                yield Path(folder, name).lstat()


def _tree_size(path: Path) -> int:
    size = sum(status.st_size for status in _files(path))
    return size - path.lstat().st_size if path.is_dir() else size


def _age_s(path: Path) -> float:
    return time.time() - max((status.st_mtime for status in _files(path)), default=0.0)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"

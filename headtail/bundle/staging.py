"""A folder that appears whole or not at all: written beside its destination, synced, renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

from headtail.errors import UsageFault
from headtail.manifest import MANIFEST

__all__ = ["SUFFIX", "Staging"]

SUFFIX = ".bundle"


class Staging:
    """`with Staging(destination) as staging:` fill `staging.path`, then `commit()`.

    Leaving the block without `commit()` removes the folder. It is `.NAME.partial-<pid>-<random>`
    in the destination's parent, hence on the same file system, where a rename is atomic.
    """

    def __init__(self, destination: Path, *, force: bool = False) -> None:
        self.destination = destination
        self.force = force
        self.path = Path()
        self._committed = False

    def __enter__(self) -> Staging:
        check_destination(self.destination, force=self.force)
        parent = self.destination.absolute().parent
        parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{self.destination.name}.partial-{os.getpid()}-"
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._committed:
            shutil.rmtree(self.path, ignore_errors=True)

    def commit(self) -> None:
        """Normalise modes (644 and 755), fsync every file and folder, and rename into place.

        Without `force` nothing is ever overwritten. With `force` the old bundle is renamed away,
        the new one renamed in, then the old one deleted; if the second rename fails the old one is
        put back. A crash between the two renames (microseconds) leaves no bundle at the
        destination, but both whole ones beside it, the old as `.NAME.replaced-<pid>`. Never is
        there a mixture. A process that holds files of the old bundle open keeps reading the old.
        """
        _normalise_and_sync(self.path)
        check_destination(self.destination, force=self.force)
        old = self.destination.with_name(f".{self.destination.name}.replaced-{os.getpid()}")
        replaces = self.destination.exists()
        if replaces:
            self.destination.rename(old)
        try:
            self.path.rename(self.destination)
        except OSError:
            if replaces:
                old.rename(self.destination)
            raise
        self._committed = True
        _sync_folder(self.destination.absolute().parent)
        if replaces:
            shutil.rmtree(old)


def check_destination(destination: Path, *, force: bool) -> None:
    """Raise `UsageFault` unless a bundle may be written there."""
    if not destination.name.endswith(SUFFIX) or destination.name == SUFFIX:
        raise UsageFault(
            f"{destination} is not named like a bundle.",
            expected=f"A bundle's folder is named NAME{SUFFIX}.",
            remedy=f"Write it to {destination.name or 'model'}{SUFFIX}.",
        )
    if not os.path.lexists(destination):
        return
    if not force:
        raise UsageFault(
            f"{destination} already exists.",
            expected="A bundle is never overwritten unasked.",
            remedy="Choose another name, or pass force (--force).",
        )
    holds_bundle = (destination / MANIFEST).is_file() and not destination.is_symlink()
    if not holds_bundle:
        raise UsageFault(
            f"{destination} exists and is not a bundle.",
            expected=f"force replaces only a folder with a {MANIFEST}.",
            remedy="Choose another name, or remove it yourself.",
        )


def _normalise_and_sync(root: Path) -> None:
    for folder, _, files in os.walk(root, topdown=False):
        for name in files:
            path = Path(folder, name)
            path.chmod(0o644)
            with path.open("rb") as file:
                os.fsync(file.fileno())
        Path(folder).chmod(0o755)
        _sync_folder(Path(folder))


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows opens no folders; its rename is journalled
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

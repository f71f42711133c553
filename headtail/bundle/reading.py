"""A bundle on disk, and the rules for reading any file of it.

Files are opened only if `lstat` says they are regular (no symlink, pipe or device), and their size
is compared with the promise before a byte is read.
"""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from headtail.errors import IntegrityFault, UnknownName, UsageFault
from headtail.manifest import MANIFEST, MAX_MANIFEST_BYTES, Artifact, FileRecord, Manifest
from headtail.tensorfile import read_tensors
from headtail.tensors import Array

__all__ = [
    "Bundle",
    "check_file",
    "check_size",
    "integrity",
    "load_manifest",
    "open_regular",
    "read_limited",
    "sha256_of",
]

CHUNK = 1 << 20  # bytes hashed at a time


@dataclass(frozen=True)
class Bundle:
    """An opened bundle. Made by `open_bundle`, which is where its files were checked."""

    path: Path
    manifest: Manifest

    def file(self, rel: str) -> Path:
        """Where the promised file `rel` lies; `UnknownName` lists what the manifest promises."""
        if rel not in self.manifest.files:
            raise UnknownName("file of the bundle", rel, self.manifest.files)
        return self.path / rel

    def artifact_path(self, artifact: Artifact) -> Path:
        """The artifact's file, or its folder if it is an `.mlpackage`."""
        return self.path / artifact.path

    def golden(self) -> dict[str, Array]:
        """The golden vectors: `frame.<i>`, `input.<i>.<name>`, `output.<i>.<name>` and
        `cut.<cut id>.<i>.<name>`; see `headtail.tensorfile` for what a malformed file raises."""
        return read_tensors(self.file(self.manifest.golden))


def load_manifest(folder: Path) -> Manifest:
    """The manifest of the bundle in `folder`, without looking at any other file.

    Raises `UsageFault` if `folder` is no bundle, `IntegrityFault` if the manifest was changed,
    `SchemaFault` if its schema is another one.
    """
    if not folder.is_dir() or not (folder / MANIFEST).exists():
        raise UsageFault(
            f"{folder} is not a bundle.",
            expected=f"A bundle is a folder with a {MANIFEST}, or a .zip of one.",
            remedy="Check the path, or make one with `headtail export`.",
        )
    return Manifest.from_bytes(read_limited(folder, MANIFEST, limit=MAX_MANIFEST_BYTES))


def read_limited(folder: Path, rel: str, *, limit: int) -> bytes:
    """The bytes of a small regular file; `IntegrityFault` if it is something else or larger."""
    size = _regular_size(folder, rel)
    if size > limit:
        raise integrity(rel, f"has {size} bytes", f"At most {limit} bytes are read.")
    with open_regular(folder, rel) as file:
        return file.read(size)  # not read(limit), which would allocate the limit


def check_file(folder: Path, rel: str, record: FileRecord) -> None:
    """Raise `IntegrityFault` unless the file is regular with the promised size and SHA-256."""
    check_size(folder, rel, record)
    with open_regular(folder, rel) as file:
        digest = sha256_of(file)
    if digest != record.sha256:
        raise integrity(
            rel, f"has SHA-256 {digest[:16]}...", f"The manifest promises {record.sha256[:16]}..."
        )


def check_size(folder: Path, rel: str, record: FileRecord) -> None:
    """Raise `IntegrityFault` unless the file is regular with the promised size."""
    size = _regular_size(folder, rel)
    if size != record.size:
        raise integrity(rel, f"has {size} bytes", f"The manifest promises {record.size}.")


def open_regular(folder: Path, rel: str) -> BinaryIO:
    """The file, opened to read; `IntegrityFault` if it is missing, not regular or unreadable."""
    _regular_size(folder, rel)
    try:
        return (folder / rel).open("rb")
    except OSError as error:
        raise integrity(rel, f"cannot be read ({error.strerror})", "It must be readable.") from None


def sha256_of(file: BinaryIO) -> str:
    """SHA-256 in hex of what is left to read, in chunks of 1 MiB."""
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def integrity(rel: str, what: str, expected: str) -> IntegrityFault:
    """The error that names a file of a bundle which is not what it should be."""
    shown = rel.encode(errors="backslashreplace").decode()  # a stray file may be named in any bytes
    return IntegrityFault(
        f"{shown} {what}.",
        file=shown,
        expected=expected,
        remedy="Fetch the bundle again, or export it again.",
    )


def _regular_size(folder: Path, rel: str) -> int:
    try:
        status = (folder / rel).lstat()
    except OSError as error:
        raise integrity(rel, f"is missing ({error.strerror})", "The bundle holds it.") from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "not a regular file"
        raise integrity(rel, f"is {kind}", "A bundle holds regular files only.")
    return status.st_size

"""Every file of a bundle against the manifest: nothing changed, nothing missing, nothing more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from headtail.bundle.measurements import report_files
from headtail.bundle.reading import Bundle, check_file, check_size, integrity, read_limited
from headtail.bundle.signature import SIGNATURE, read_signature
from headtail.manifest import MANIFEST, MAX_MANIFEST_BYTES

__all__ = ["check_layout", "verify_files"]


def verify_files(bundle: Bundle) -> None:
    """Raise `IntegrityFault`, whose `file` names the culprit, unless the folder is exactly the
    bundle: manifest and every promised file byte for byte, a sealed report or none, a signature
    that fits or none, nothing else.
    """
    _check_names(bundle)
    for rel, record in sorted(bundle.manifest.files.items()):
        check_file(bundle.path, rel, record)


def check_layout(bundle: Bundle) -> None:
    """As `verify_files`, but of the promised files only that they are there with their sizes: what
    can be said of a large bundle at once. A changed byte is not found.
    """
    _check_names(bundle)
    for rel, record in sorted(bundle.manifest.files.items()):
        check_size(bundle.path, rel, record)


def _check_names(bundle: Bundle) -> None:
    manifest = bundle.manifest
    data = read_limited(bundle.path, MANIFEST, limit=MAX_MANIFEST_BYTES)
    if data != manifest.to_bytes():
        raise integrity(MANIFEST, "changed after it was read", "It stays as it was opened.")
    promised = set(manifest.files)
    folders = {rel[:i] for rel in promised for i, letter in enumerate(rel) if letter == "/"}
    sealed = {MANIFEST, *report_files(bundle)}  # not in `files`, checked by other means
    if read_signature(bundle):
        sealed.add(SIGNATURE)
    for rel in _entries(bundle.path, folders):
        if rel not in promised and rel not in sealed:
            raise integrity(rel, "is in the folder", "The manifest does not promise it.")


def _entries(root: Path, folders: set[str], prefix: str = "") -> Iterator[str]:
    """Everything in the tree that is not one of the promised `folders`, links not followed."""
    with os.scandir(root / prefix) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            rel = f"{prefix}{entry.name}"
            if rel in folders and entry.is_dir(follow_symlinks=False):
                yield from _entries(root, folders, f"{rel}/")
            else:
                yield rel

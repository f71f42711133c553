"""open_bundle: from a path that a person typed to a bundle that may be trusted."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path

from headtail.bundle.reading import Bundle, load_manifest
from headtail.bundle.staging import SUFFIX
from headtail.bundle.transport import unpack_zip
from headtail.bundle.verifying import verify_files

__all__ = ["open_bundle"]


def open_bundle(path: str | Path, *, check: bool = True) -> Bundle:
    """Open a bundle's folder, or its `.zip`.

    `check` hashes every file; without it only the manifest is read. A `.zip` is always checked, and
    unpacked into a temporary folder that is deleted with the returned object: keep that as long as
    any path taken from it. Raises `UsageFault` (no bundle), `IntegrityFault` (changed; `.file`
    names what), `SchemaFault` (another schema version).
    """
    path = Path(path)
    if path.is_file():
        folder = Path(tempfile.mkdtemp(prefix="headtail-"))
        try:
            bundle = unpack_zip(path, folder / f"{path.stem.removesuffix(SUFFIX)}{SUFFIX}")
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        weakref.finalize(bundle, shutil.rmtree, folder, ignore_errors=True)
        return bundle
    bundle = Bundle(path, load_manifest(path))
    if check:
        verify_files(bundle)
    return bundle

"""One bundle as a server holds it: verified, packed for download, and watched for changes.

What phones download is the packed copy, a file without a name: editing or deleting the bundle's
folder cannot change it, and the system takes it back however the process ends. Tails are read from
the folder itself, so `check` says whether that is still what was verified.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from companion_server.store.faults import full_disk_refused
from headtail.bundle import Bundle, verify_files
from headtail.bundle.signature import SIGNATURE, read_signature
from headtail.bundle.transport import write_zip
from headtail.manifest import MANIFEST
from headtail.strictjson import to_json

__all__ = ["StoredBundle", "pack"]

CHUNK_BYTES = 256 << 10
Stamps = Mapping[str, tuple[int, ...] | None]


class StoredBundle:
    """One bundle and its zip; `zip_sha256` is hex, `zip_bytes` its size.

    `signed_by` is the public key in hex, empty for an unsigned bundle. `published` says that it
    lies in the store's folder, from where it can be removed. The packed copy is closed with the
    last reference, so a download outlives the bundle's removal.
    """

    def __init__(
        self,
        bundle: Bundle,
        zip_file: io.BufferedRandom,
        *,
        stamps: Stamps,
        published: bool = False,
    ) -> None:
        self.bundle = bundle
        self.zip_file = zip_file
        self.zip_bytes = zip_file.seek(0, os.SEEK_END)
        zip_file.seek(0)
        self.zip_sha256 = hashlib.file_digest(zip_file, "sha256").hexdigest()
        self.published = published
        signature = read_signature(bundle)
        self.signed_by = "" if signature is None else signature.public_key
        self._stamps = stamps
        weakref.finalize(self, zip_file.close)

    @property
    def bundle_id(self) -> str:
        """SHA-256 (hex) of the canonical manifest; the version of the model in the protocol."""
        return self.bundle.manifest.bundle_id

    @property
    def model(self) -> str:
        """The model's name, which all its versions share."""
        return self.bundle.manifest.name

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """Bytes `start` to `stop` of the zip in chunks; any number of readers at once."""
        while start < stop:
            # pread leaves the shared file position alone
            chunk = os.pread(self.zip_file.fileno(), min(CHUNK_BYTES, stop - start), start)
            if not chunk:
                raise OSError(f"The packed {self.bundle_id} ended {stop - start} bytes too early.")
            start += len(chunk)
            yield chunk

    def check(self) -> None:
        """Raise `IntegrityFault`, naming the file, if the folder is not what was verified.

        Cheap while nothing happened: files are hashed again only if what the system says about one
        (inode, mode, size, times) is not what it said before. Call it after reading a tail, and now
        and then. It blocks.
        """
        stamps = _look(self.bundle)
        if stamps != self._stamps:
            verify_files(self.bundle)
            self._stamps = stamps

    def summary(self) -> dict[str, Any]:
        """What `GET /v2/bundles` says about it."""
        manifest = self.bundle.manifest
        return {
            "bundle_id": manifest.bundle_id,
            "name": manifest.name,
            "task": manifest.task,
            "bytes": self.zip_bytes,
            "sha256": self.zip_sha256,
            "signed_by": self.signed_by,
            "artifacts": [
                {
                    "format": a.format,
                    "precision": a.precision,
                    "bytes": a.bytes,
                    "verdict": a.verdict,
                    "agreement": to_json(a.agreement),
                }
                for a in manifest.artifacts
            ],
        }


def pack(bundle: Bundle, *, published: bool = False, folder: Path | None = None) -> StoredBundle:
    """Verify every file of `bundle` and pack it; its copy lies in `folder` (default: TMPDIR).

    Raises what `verify_files` raises, and `StorageFull`.
    """
    where = Path(tempfile.gettempdir()) if folder is None else folder
    with full_disk_refused(where):
        file = tempfile.TemporaryFile(prefix="headtail-serve-", dir=where)  # noqa: SIM115  # closed by StoredBundle
        try:
            stamps = _look(bundle)  # before verifying: what changes meanwhile differs later
            verify_files(bundle)
            write_zip(bundle, file)  # hashes once more what it copies
            file.flush()
            return StoredBundle(bundle, file, stamps=stamps, published=published)
        except BaseException:
            file.close()
            raise


def _look(bundle: Bundle) -> Stamps:
    watched = (MANIFEST, SIGNATURE, *bundle.manifest.files)
    return {rel: _stamp(bundle.path / rel) for rel in watched}


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns

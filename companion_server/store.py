"""The bundles this server holds: opened, every file hashed, and packed for download.

Content addressed: a bundle is known by its `bundle_id` and by nothing else. Requests are answered
from the dictionaries built here, so no text of a request ever becomes part of a path.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from headtail.bundle import Bundle, open_bundle, pack_zip
from headtail.errors import BundleMismatch, UnknownName, UsageFault

__all__ = ["BundleStore", "StoredBundle"]


CHUNK_BYTES = 256 << 10


@dataclass(frozen=True)
class StoredBundle:
    """One bundle and its zip; `zip_sha256` is hex, `zip_bytes` its size.

    The zip is a file without a name: a copy, so that editing a served directory cannot change what
    phones receive, and one that the system takes back however the process ends.
    """

    bundle: Bundle
    zip_file: BinaryIO
    zip_sha256: str
    zip_bytes: int

    @property
    def bundle_id(self) -> str:
        """SHA-256 (hex) of the canonical manifest; the version of the model in the protocol."""
        return self.bundle.manifest.bundle_id

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """Bytes `start` to `stop` of the zip in chunks; any number of readers at once."""
        while start < stop:
            # pread leaves the shared file position alone
            chunk = os.pread(self.zip_file.fileno(), min(CHUNK_BYTES, stop - start), start)
            if not chunk:
                raise OSError(f"The packed {self.bundle_id} ended {stop - start} bytes too early.")
            start += len(chunk)
            yield chunk

    def summary(self) -> dict[str, Any]:
        """What `GET /v2/bundles` says about it."""
        manifest = self.bundle.manifest
        return {
            "bundle_id": manifest.bundle_id,
            "name": manifest.name,
            "task": manifest.task,
            "bytes": self.zip_bytes,
            "sha256": self.zip_sha256,
            "artifacts": [
                {
                    "format": a.format,
                    "precision": a.precision,
                    "bytes": a.bytes,
                    "verdict": a.verdict,
                }
                for a in manifest.artifacts
            ],
        }


class BundleStore:
    """Bundles by id, and by model name for requests that name no version."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Open, verify and pack every path; `UsageFault` if there is none.

        Raises what `open_bundle` raises, `IntegrityFault` above all. A bundle given twice is held
        once.
        """
        if not paths:
            raise UsageFault(
                "No bundle was given.",
                expected="A server needs at least one bundle directory.",
                remedy="Pass the path of a NAME.bundle directory made by `headtail export`.",
            )
        self._bundles: dict[str, StoredBundle] = {}
        try:
            for path in paths:
                bundle = open_bundle(path)
                if bundle.manifest.bundle_id not in self._bundles:
                    self._bundles[bundle.manifest.bundle_id] = _pack(bundle)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the packed copies back."""
        for stored in self._bundles.values():
            stored.zip_file.close()

    @property
    def bundles(self) -> Mapping[str, StoredBundle]:
        """Bundle id -> bundle, in the order given."""
        return self._bundles

    def bundle(self, bundle_id: str) -> StoredBundle:
        """The bundle of an id; `UnknownName` lists the ids held."""
        if bundle_id not in self._bundles:
            raise UnknownName("bundle", bundle_id, self._bundles)
        return self._bundles[bundle_id]

    def versions(self, model: str) -> list[StoredBundle]:
        """Every bundle of a model name, the default last; `UnknownName` lists the models held."""
        found = [b for b in self._bundles.values() if b.bundle.manifest.name == model]
        if not found:
            raise UnknownName(
                "model", model, {b.bundle.manifest.name for b in self._bundles.values()}
            )
        return found

    def version(self, model: str, bundle_id: str = "") -> StoredBundle:
        """One bundle of a model: the one asked for, or the last one given to the server.

        Raises `UnknownName` for a model that is not held and `BundleMismatch` for a version.
        """
        found = self.versions(model)
        if not bundle_id:
            return found[-1]
        for stored in found:
            if stored.bundle_id == bundle_id:
                return stored
        raise self.mismatch(model, f"Bundle {bundle_id[:80]!r} of model {model!r} is not held.")

    def mismatch(self, model: str, what: str) -> BundleMismatch:
        """A 409 that lists the bundles held of `model`, each with its cuts."""
        held = {b.bundle_id: [c.id for c in b.bundle.manifest.cuts] for b in self.versions(model)}
        listed = "; ".join(f"{key} (cuts: {', '.join(cuts)})" for key, cuts in held.items())
        return BundleMismatch(
            what,
            held=held,
            expected=f"Held: {listed}.",
            remedy="Download a held bundle from /v2/bundles, or answer on the device.",
        )


def _pack(bundle: Bundle) -> StoredBundle:
    with tempfile.TemporaryDirectory(prefix="headtail-serve-") as folder:
        path = Path(folder) / "bundle.zip"
        pack_zip(bundle, path)
        file = path.open("rb")
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    return StoredBundle(bundle, file, digest, file.tell())

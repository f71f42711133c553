"""The bundles this server holds: opened, every file hashed, and packed for download.

Content addressed: a bundle is known by its `bundle_id` and by nothing else. Requests are answered
from the dictionaries built here, so no text of a request ever becomes part of a path.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headtail.bundle import Bundle, open_bundle, pack_zip
from headtail.errors import BundleMismatch, UnknownName, UsageFault

__all__ = ["BundleStore", "StoredBundle"]


@dataclass(frozen=True)
class StoredBundle:
    """One bundle and its zip; `zip_sha256` is hex, `zip_bytes` its size."""

    bundle: Bundle
    zip_path: Path
    zip_sha256: str
    zip_bytes: int

    @property
    def bundle_id(self) -> str:
        """SHA-256 (hex) of the canonical manifest; the version of the model in the protocol."""
        return self.bundle.manifest.bundle_id

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
    """Bundles by id, and by model name for requests that name no version.

    The zips lie in a private temporary folder that `close` removes; they are copies, so editing a
    served directory cannot change what phones receive.
    """

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
        self._folder = tempfile.TemporaryDirectory(prefix="headtail-serve-")
        self._bundles: dict[str, StoredBundle] = {}
        try:
            for path in paths:
                stored = self._pack(open_bundle(path))
                self._bundles[stored.bundle_id] = stored
        except BaseException:
            self.close()
            raise

    def _pack(self, bundle: Bundle) -> StoredBundle:
        path = Path(self._folder.name) / f"{bundle.manifest.bundle_id}.zip"
        pack_zip(bundle, path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return StoredBundle(bundle, path, digest, path.stat().st_size)

    def close(self) -> None:
        """Remove the packed copies."""
        self._folder.cleanup()

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

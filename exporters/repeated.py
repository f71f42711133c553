"""A second export of the same thing: the bundle that the first one published, published again.

Everything that decides about a bundle's content is in the key: program, inputs and where they came
from, labels, preprocessing, what was asked for, the versions of all tools and this code. Measured
times are those of the first export; a remark says so and when that was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from exporters.cache import Cache, copy
from exporters.captured import Captured
from exporters.digests import key
from exporters.source import SourceModel
from headtail.bundle import Bundle, open_bundle, read_report
from headtail.bundle.staging import Staging
from headtail.report import ArtifactRow
from headtail.strictjson import from_json

__all__ = ["Repeated", "export_key", "keep_export", "publish_again"]


@dataclass(frozen=True)
class Repeated:
    """A bundle that was published again, the rows of its report and its remarks."""

    bundle: Bundle
    rows: tuple[ArtifactRow, ...]
    remarks: tuple[str, ...]


def export_key(source: SourceModel, captured: Captured, *asked: object) -> str:
    """The digest of all that an export depends on; `asked` are its options."""
    calibration = source.calibration.provenance if source.calibration else None
    return key(
        "export",
        captured.digest,
        captured.heads,
        source.name,
        source.origin,
        list(source.labels),
        source.preprocess,
        calibration,
        source.evaluation.provenance,
        list(source.eval_labels),
        list(source.eval_slices),
        *asked,
    )


def keep_export(cache: Cache, name: str, bundle: Bundle) -> None:
    """Keep a complete bundle, its report included, for the next export with the same key."""
    written = datetime.now(UTC).isoformat(timespec="seconds")
    cache.keep(name, bundle.path, {"written": written})


def publish_again(cache: Cache, name: str, destination: Path, *, force: bool) -> Repeated | None:
    """Publish what is kept under the key, every byte checked; None if nothing is."""
    found = cache.find(name)
    if found is None:
        return None
    kept, about = found
    with Staging(destination, force=force) as staging:
        copy(kept, staging.path)
        staging.commit()
    bundle = open_bundle(destination)
    report = read_report(bundle)
    if report is None:
        return None
    rows: Sequence[dict[str, Any]] = report["artifacts"]
    remark = f"taken from the cache: exported and measured at {about['written']}"
    return Repeated(
        bundle,
        tuple(from_json(ArtifactRow, row) for row in rows),
        (*report["notes"], remark),
    )

"""One line of every table, from what was seen of an artifact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headtail.manifest import Agreement
from headtail.report import ArtifactRow

__all__ = ["artifact_row", "failed_row"]


def artifact_row(  # noqa: PLR0913  # a line has as many cells
    kind: tuple[str, str],
    *,
    bytes: int,  # noqa: A002  # as the row calls it
    runtime: str,
    agreement: Agreement | None,
    timing: Mapping[str, Any],
    verdict: str,
    note: str,
) -> ArtifactRow:
    """`kind` is (format, precision), `timing` that of `forward`, empty if nothing was timed."""
    format_name, precision = kind
    return ArtifactRow(
        format=format_name,
        precision=precision,
        bytes=bytes,
        agreement=agreement.top1 if agreement else None,
        n=agreement.n if agreement else 0,
        low=agreement.low if agreement else None,
        high=agreement.high if agreement else None,
        snr_db_mean=agreement.snr_db_mean if agreement else None,
        snr_db_min=agreement.snr_db_min if agreement else None,
        latency_ms_p50=timing.get("p50_ms"),
        latency_ms_p90=timing.get("p90_ms"),
        runtime=runtime,
        timing_kind=timing.get("kind", ""),
        verdict=verdict,
        note=note,
    )


def failed_row(kind: tuple[str, str], reason: str) -> ArtifactRow:
    """An artifact that could not be written or proven."""
    return artifact_row(
        kind, bytes=0, runtime="", agreement=None, timing={}, verdict="failed", note=reason
    )

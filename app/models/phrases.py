"""Sizes, times and agreement as the Models page writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from app.figures import RUNTIME_NAMES
from app.models.state import ArtifactCard, OfferedArtifact

__all__ = ["DOT", "ago", "agreement", "duration", "host", "kind"]

DOT = "  \u00b7  "
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400


def kind(artifact: ArtifactCard | OfferedArtifact) -> str:
    """`LiteRT w8a8`."""
    return f"{RUNTIME_NAMES.get(artifact.format, artifact.format)} {artifact.precision}"


def agreement(artifact: ArtifactCard | OfferedArtifact) -> str:
    """`agrees 0.980 [0.896, 0.996] (n=50)`, or how near the outputs come."""
    count = f"(n={artifact.samples})"
    if artifact.agreement is None:
        snr = artifact.snr_db
        return f"SNR {snr:.1f} dB {count}" if math.isfinite(snr) else f"exact {count}"
    interval = ""
    if artifact.low is not None and artifact.high is not None:
        interval = f" [{artifact.low:.3f}, {artifact.high:.3f}]"
    return f"agrees {artifact.agreement:.3f}{interval} {count}"


def ago(then_s: float, now_s: float) -> str:
    """`just now`, `5 minutes ago`, `1 day ago`; both in seconds since 1970."""
    seconds = now_s - then_s
    if seconds < MINUTE_S:  # a clock that was set back too
        return "just now"
    steps: Sequence[tuple[int, str]] = ((DAY_S, "day"), (HOUR_S, "hour"), (MINUTE_S, "minute"))
    size, unit = next(step for step in steps if seconds >= step[0])
    count = int(seconds // size)
    return f"{count} {unit}{'' if count == 1 else 's'} ago"


def duration(seconds: float) -> str:
    """`8 s`, `3 min`, `1.5 h`."""
    if seconds >= HOUR_S:
        return f"{seconds / HOUR_S:.1f} h"
    return f"{seconds / MINUTE_S:.0f} min" if seconds >= MINUTE_S else f"{math.ceil(seconds)} s"


def host(address: str) -> str:
    """An address without its scheme."""
    return address.split("://", 1)[-1]

"""What goes into converting and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from exporters.metadata import Metadata
from headtail.manifest import Coverage
from headtail.tensors import TensorSpec

__all__ = ["Captures", "Conversion", "Failure"]


@dataclass(frozen=True)
class Conversion:
    """One artifact file, not yet proven.

    `rewrites` counts changed places by rewrite of the graph; `seconds` is wall-clock time in the
    converter and `peak_rss_bytes` the most memory its process took until this file was written.
    """

    format: str
    precision: str
    path: Path
    rewrites: Mapping[str, int]
    coverage: Coverage | None
    seconds: float
    peak_rss_bytes: int


@dataclass(frozen=True)
class Captures:
    """What converters read: the saved program, heads by entry point, inputs, calibration file.

    In the cache's keys, `digest` stands for the program and `calibration_digest` for the inputs.
    Every file says `metadata` about itself, or nothing.
    """

    program: Path
    heads: Mapping[str, tuple[str, ...]]
    inputs: tuple[TensorSpec, ...]
    calibration: Path | None
    digest: str = ""
    calibration_digest: str = ""
    metadata: Metadata | None = None


@dataclass(frozen=True)
class Failure:
    """Why an artifact is not in the bundle; `log` holds the library's last lines."""

    format: str
    precision: str
    reason: str
    log: str

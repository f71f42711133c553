"""How well an artifact holds up: figures with intervals, gates on them, and what changed.

`assess` makes a `QualityReport` of two models' outputs; a `Quality` of several goes into
`headtail.report.Report`, and from there to report.json and the page.
"""

from __future__ import annotations

from headtail.quality.assessment import Settings, assess
from headtail.quality.distributions import equalized
from headtail.quality.gates import FIGURES, Gate, failures, parse_gates
from headtail.quality.schema import (
    Accuracy,
    CalibrationError,
    ChangedImage,
    Drift,
    Equalization,
    Faithful,
    Halves,
    Histogram,
    Interval,
    LayerNoise,
    NoiseProfile,
    Quality,
    QualityReport,
    Sensitivity,
    SensitivityRun,
    Slice,
)
from headtail.quality.sheet import contact_sheet, with_thumbnails

__all__ = [
    "FIGURES",
    "Accuracy",
    "CalibrationError",
    "ChangedImage",
    "Drift",
    "Equalization",
    "Faithful",
    "Gate",
    "Halves",
    "Histogram",
    "Interval",
    "LayerNoise",
    "NoiseProfile",
    "Quality",
    "QualityReport",
    "Sensitivity",
    "SensitivityRun",
    "Settings",
    "Slice",
    "assess",
    "contact_sheet",
    "equalized",
    "failures",
    "parse_gates",
    "with_thumbnails",
]

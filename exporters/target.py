"""The table of target formats, and the one interface behind which each converter stands.

A format is a module in this folder with a function `write(job)`; the table below names it, so that
naming a format imports nothing. Conversions run in processes of their own (`exporters.worker`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headtail.errors import UnknownName
from headtail.manifest import Coverage
from headtail.tensors import TensorSpec

if TYPE_CHECKING:
    from exporters.entries import EntryPoints
    from exporters.metadata import Metadata
    from quantizers.plan import Plan

__all__ = ["TARGETS", "Job", "Target", "target"]


@dataclass(frozen=True)
class Target:
    """One format: file suffix, the module that writes it, the runtime that proves it.

    `fp32_gate_db` is the SNR in dB that every fp32 artifact must reach on every real input.
    """

    format: str
    suffix: str
    module: str
    minimum_runtime: str
    fp32_gate_db: float

    def writer(self) -> Callable[[Job], Coverage | None]:
        """The function that converts; imports the converter. It returns what a delegate takes."""
        write: Callable[[Job], Coverage | None] = importlib.import_module(self.module).write
        return write


@dataclass(frozen=True)
class Job:
    """One conversion: graphs in, one artifact with several entry points out.

    `plan` says which precision; if it has grids, the graphs are of the plan's own program.

    `entries` are prepared for the target, `captured` are the same as PyTorch runs them; `inputs`
    are the model's inputs; `calibration` is a tensor file with `<sample>.<input name>`. The file is
    to say `metadata` about itself, or nothing.
    """

    plan: Plan
    entries: EntryPoints
    captured: EntryPoints
    inputs: tuple[TensorSpec, ...]
    calibration: Path | None
    destination: Path
    scratch: Path
    metadata: Metadata | None = None

    @property
    def precision(self) -> str:
        """Name of the plan's recipe."""
        return self.plan.recipe.name


# 85 dB tells a wrong Core ML program from rounding: networks seen are at 91 dB and more, while
# coremltools 9 writes GELU's tanh form as the exact one (74 dB) and `reciprocal` with an epsilon
# (63 dB), without a word. tests/exporters/mil has both, and single-operator faults by kind.
TARGETS: dict[str, Target] = {
    "litert": Target("litert", "tflite", "exporters.litert", "ai-edge-litert>=2.0", 90.0),
    "executorch": Target("executorch", "pte", "exporters.executorch", "executorch>=1.5,<1.7", 90.0),
    "coreml": Target("coreml", "mlpackage", "exporters.coreml", "iOS18/macOS15", 85.0),
}


def target(format: str) -> Target:  # noqa: A002  # the field's word
    """Look a format up; `UnknownName` lists what exists."""
    if format not in TARGETS:
        raise UnknownName("format", format, TARGETS)
    return TARGETS[format]

"""What goes into converting and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from exporters.metadata import Metadata
from headtail.manifest import Coverage
from headtail.tensors import TensorSpec
from quantizers.recipe import RECIPES, Recipe, recipe

__all__ = ["Captures", "Conversion", "Failure", "PlannedProgram"]


@dataclass(frozen=True)
class Conversion:
    """One artifact file, not yet proven.

    `rewrites` counts changed places by rewrite of the graph; `seconds` is wall-clock time in the
    converter and `peak_rss_bytes` the most memory its process took until this file was written.
    """

    format: str
    recipe: Recipe
    path: Path
    rewrites: Mapping[str, int]
    coverage: Coverage | None
    seconds: float
    peak_rss_bytes: int

    @property
    def precision(self) -> str:
        """Name of the recipe."""
        return self.recipe.name


@dataclass(frozen=True)
class PlannedProgram:
    """A quantized precision's own program: files of the program and of its plan, heads by entry
    point in the names of its graph."""

    program: str
    plan: str
    heads: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Captures:
    """What converters read: the saved program, heads by entry point, inputs, calibration file.

    In the cache's keys, `digest` stands for the program and `calibration_digest` for the inputs.
    Every file says `metadata` about itself, or nothing. `planned` are the precisions that have
    programs of their own; `recipes` are those of precisions that are no presets.
    """

    program: Path
    heads: Mapping[str, tuple[str, ...]]
    inputs: tuple[TensorSpec, ...]
    calibration: Path | None
    digest: str = ""
    calibration_digest: str = ""
    metadata: Metadata | None = None
    planned: Mapping[str, PlannedProgram] = field(default_factory=dict)
    recipes: Mapping[str, Recipe] = field(default_factory=dict)

    def recipe(self, precision: str) -> Recipe:
        """The recipe called `precision`."""
        return recipe(precision, RECIPES | dict(self.recipes))


@dataclass(frozen=True)
class Failure:
    """Why an artifact is not in the bundle; `log` holds the library's last lines."""

    format: str
    precision: str
    reason: str
    log: str

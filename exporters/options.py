"""What an export is asked for, and what it gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from exporters.channels_last import FORMATS as CHANNELS_LAST
from exporters.conversion import Failure
from exporters.processes import Limits
from exporters.quantized import USUAL, FitOptions
from exporters.target import TARGETS
from headtail.bundle import Bundle
from headtail.errors import GateFailed, UsageFault
from headtail.report import ArtifactRow
from quantizers.recipe import RECIPES, Recipe

__all__ = ["GOLDEN_SAMPLES", "ExportOptions", "ExportResult", "missed", "require_any"]

GOLDEN_SAMPLES = 4  # whole photos with all boundary tensors are about 1.5 MB each


@dataclass(frozen=True)
class ExportOptions:
    """What to write. Empty `precisions`: all that the formats honour; they name presets, `recipes`
    of one's own, or `mixed`; quantized ones are made as `fit` says; `cuts`: names, or empty for the
    three best, unless `split` is off; `warmup` and `runs` count timed runs per artifact;
    `limits` hold for each converter's process; `rebuild` takes nothing from the cache;
    `fold_preprocess` makes normalisation part of the program, which then takes pixels;
    `channels_last` makes pictures NHWC, for LiteRT only; `dynamic` are ranges of sizes that the
    files take, as `exporters.dynamic` reads them."""

    destination: Path
    formats: tuple[str, ...] = tuple(TARGETS)
    precisions: tuple[str, ...] = ()
    cuts: tuple[str, ...] = ()
    split: bool = True
    force: bool = False
    warmup: int = 3
    runs: int = 20
    limits: Limits = field(default_factory=Limits)
    rebuild: bool = False
    fold_preprocess: bool = False
    channels_last: bool = False
    dynamic: tuple[str, ...] = ()
    recipes: tuple[Recipe, ...] = ()
    fit: FitOptions = USUAL

    @property
    def known(self) -> dict[str, Recipe]:
        """Every recipe that `precisions` may name."""
        mixture = self.fitting.mixture
        chosen = (mixture.offer(),) if mixture else ()
        return RECIPES | {one.name: one for one in (*self.recipes, *chosen)}

    @property
    def fitting(self) -> FitOptions:
        """`fit`, its budget for all of the formats."""
        mixture = self.fit.mixture
        return replace(self.fit, mixture=mixture and replace(mixture, formats=self.formats))

    def __post_init__(self) -> None:
        if self.cuts and not self.split:
            raise UsageFault(
                f"The cuts {', '.join(self.cuts)} were asked for, and no split.",
                expected="A model is either split at cuts or not at all.",
                remedy="Leave out either --cut or --no-split.",
            )
        if self.cuts and self.dynamic:
            raise UsageFault(
                f"The cuts {', '.join(self.cuts)} were asked for, and dynamic sizes.",
                expected="The tail of a split model takes one size, and any batch.",
                remedy="Leave out either --cut or --dynamic.",
            )
        others = [name for name in self.formats if name not in CHANNELS_LAST]
        if self.channels_last and others:
            raise UsageFault(
                f"Channels last were asked for, and {', '.join(others)}.",
                expected=f"Only {', '.join(CHANNELS_LAST)} gains by it: the others' kernels and "
                "phone code take pictures channels first.",
                remedy="Export --channels-last --format litert, and the others to another bundle.",
            )


@dataclass(frozen=True)
class ExportResult:
    """The bundle, one row per artifact asked for (failed ones too), what was left out and why."""

    bundle: Bundle
    rows: tuple[ArtifactRow, ...]
    failures: tuple[Failure, ...]
    remarks: tuple[str, ...]
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Was everything that was asked for written and proven?"""
        return not self.failures


def missed(
    failures: Sequence[Failure], precisions: Sequence[str]
) -> tuple[tuple[Failure, ...], list[str]]:
    """The failures of what was asked for, and a remark for each of the others.

    Without `precisions` fp32 is what was asked for; a network that another one does not suit is
    exported without it, and told so.
    """
    asked = tuple(f for f in failures if f.precision in (precisions or ("fp32",)))
    offered = [f for f in failures if f not in asked]
    return asked, [f"{f.format} {f.precision} is left out: {f.reason}" for f in offered]


def require_any(proofs: Sequence[object], failures: Sequence[Failure]) -> None:
    """Raise `GateFailed` if nothing was proven."""
    if proofs:
        return
    reasons = "; ".join(f"{f.format} {f.precision}: {f.reason}" for f in failures)
    raise GateFailed(
        f"Not one artifact could be written and proven ({reasons}).",
        expected="A bundle holds at least one proven artifact.",
        remedy="Cure the first reason, and export again; no bundle was written.",
    )

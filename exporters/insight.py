"""What is known of quantized programs beyond what their files answer: layers, weights, the set.

Measured on a few evaluation inputs, which nothing was fitted to; a few seconds per precision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import fx

from exporters.entries import EntryPoints
from headtail.manifest import FORWARD
from headtail.quality import Halves, NoiseProfile, SensitivityRun
from headtail.tensors import Array
from quantizers.plan import Plan
from quantizers.profiles import noise_profile, sensitivity_run
from quantizers.static_graph import reference_graph

__all__ = ["INPUTS", "Insight", "insight_of"]

INPUTS = 8  # of the evaluation set; the standard error of a damage is then a quarter of it


@dataclass(frozen=True)
class Insight:
    """For a report: one profile per precision, one sensitivity run per way to store weights."""

    noise: tuple[NoiseProfile, ...] = ()
    sensitivity: tuple[SensitivityRun, ...] = ()
    halves: Halves | None = None


def insight_of(
    network: fx.GraphModule,
    programs: Mapping[str, tuple[Path, Plan]],
    samples: Sequence[tuple[Array, ...]],
    *,
    halves: Halves | None = None,
) -> Insight:
    """By precision, of the saved programs that were solved for on the quantizable `network`.

    `samples` are the evaluation inputs, `halves` what `quantizers.halves` says of the others.
    """
    noise, runs = [], {}
    for precision, (path, plan) in programs.items():
        quantized = reference_graph(EntryPoints.read(path, {}).graphs[FORWARD], plan)
        noise.append(noise_profile(network, quantized, samples[:INPUTS], precision=precision))
        stored = tuple((name, grid.storage) for name, grid in plan.grids.items())
        if stored not in runs:  # w8 and w8a8 have the same weights, or nearly
            runs[stored] = sensitivity_run(network, plan, samples[:INPUTS])
    return Insight(tuple(noise), tuple(runs.values()), halves)

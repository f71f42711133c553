"""What is known of quantized programs beyond what their files answer: layers, weights, the set.

Measured on a few evaluation inputs, which nothing was fitted to; a few seconds per precision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporters.entries import EntryPoints
from exporters.quantized import Quantized
from headtail.manifest import FORWARD
from headtail.quality import NoiseProfile, SensitivityRun
from headtail.tensors import Array
from quantizers.profiles import noise_profile, sensitivity_run
from quantizers.static_graph import reference_graph

__all__ = ["INPUTS", "Insight", "insight_of"]

INPUTS = 8  # of the evaluation set; the standard error of a damage is then a quarter of it


@dataclass(frozen=True)
class Insight:
    """For a report: one profile per precision, one sensitivity run per way to store weights."""

    noise: tuple[NoiseProfile, ...] = ()
    sensitivity: tuple[SensitivityRun, ...] = ()


def insight_of(planned: Mapping[str, Quantized], samples: Sequence[tuple[Array, ...]]) -> Insight:
    """Of quantized precisions, by their names; `samples` are the evaluation inputs."""
    noise, runs = [], {}
    for precision, own in planned.items():
        program = EntryPoints.read(own.program, {}).graphs[FORWARD]
        quantized = reference_graph(program, own.plan)
        noise.append(noise_profile(own.network, quantized, samples[:INPUTS], precision=precision))
        stored = tuple((name, grid.storage) for name, grid in own.plan.grids.items())
        if stored not in runs:  # w8 and w8a8 have the same weights, or nearly
            runs[stored] = sensitivity_run(own.network, own.plan, samples[:INPUTS])
    return Insight(tuple(noise), tuple(runs.values()))

"""What quantization did to a network, layer by layer, on inputs that nothing was fitted to.

`noise_profile` runs the float program and the quantized one side by side; `sensitivity_run` scores
the weights of a plan one at a time (`quantizers.sensitivity.predicted`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from headtail.metrics import finite_db, snr_db
from headtail.quality.schema import LayerNoise, NoiseProfile, Sensitivity, SensitivityRun
from headtail.tensors import Array
from quantizers.placement import result_of
from quantizers.plan import Plan
from quantizers.sensitivity import predicted
from quantizers.sites import Site, module_of, sites
from quantizers.stepper import Stepper

if TYPE_CHECKING:
    from torch import fx

__all__ = ["noise_profile", "sensitivity_run"]

METHOD = "predicted to second order"


def noise_profile(
    graph: fx.GraphModule,
    quantized: fx.GraphModule,
    samples: Sequence[Sequence[Array]],
    *,
    precision: str,
) -> NoiseProfile:
    """SNR of every layer's output in `quantized` against `graph`, in dB, mean over `samples`.

    `quantized` is what `static_graph.reference_graph` made of a program that was solved for on
    `graph`: the same names, and values that integers hold are read through `<name>_dequantized`. A
    layer's output is what the next one reads: behind the activation function that a runtime fuses.
    Bit-equal outputs count as `headtail.metrics.DB_LIMIT`.
    """
    import torch

    layers = {name: site for site in sites(graph) for name in site.nodes}
    calls = [node for node in graph.graph.nodes if node.name in layers]
    ends = {node.name: result_of(node).name for node in calls}
    held = {node.name for node in quantized.graph.nodes}
    read = {end: f"{end}_dequantized" for end in ends.values()}
    read = {end: name if name in held else end for end, name in read.items()}
    true, given = Stepper.of(graph), Stepper.of(quantized)
    total = dict.fromkeys(ends, 0.0)
    with torch.inference_mode():
        for sample in samples:
            right, seen = _values(true, sample, read), _values(given, sample, read.values())
            for name, end in ends.items():
                total[name] += finite_db(snr_db(reference=right[end], candidate=seen[read[end]]))
    found = [
        LayerNoise(
            module_of(node) or node.name,
            _operator(layers[node.name]),
            total[node.name] / len(samples),
        )
        for node in calls
    ]
    return NoiseProfile("", precision, len(samples), tuple(found))


def sensitivity_run(
    graph: fx.GraphModule, plan: Plan, samples: Sequence[tuple[Array, ...]]
) -> SensitivityRun:
    """Damage of each weight of `plan` alone, all others as the float32 `graph` has them."""
    import torch

    stored = {
        name: {grid.storage: torch.from_numpy(grid.values())} for name, grid in plan.grids.items()
    }
    layers = [
        Sensitivity(
            one.site.module or one.site.weight, _operator(one.site), one.site.elements, damage
        )
        for one in predicted(graph, samples, stored)
        for damage in one.damage.values()
    ]
    return SensitivityRun(METHOD, plan.recipe.name, len(samples), tuple(layers))


def _operator(site: Site) -> str:
    """As the report calls it."""
    kinds = ("depthwise", "conv", "linear", "embedding")
    return next(kind for kind in kinds if kind in site.kinds)


def _values(stepper: Stepper, sample: Sequence[Array], wanted: Collection[str]) -> dict[str, Array]:
    """Values by name of the call, of those that are `wanted`."""
    held, found = stepper.start(tuple(sample)), {}
    for node in stepper.calls:
        stepper.step(node, held)
        if node.name in wanted:
            found[node.name] = held[node].numpy()
    return found

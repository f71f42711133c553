"""What a graph's values are on real inputs, in PyTorch: ranges of those that will be integers.

One pass over the samples keeps the two halves of the set apart (every second sample), so that they
can be held against each other (`quantizers.halves`); ranges are those of both together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headtail.tensors import Array
from quantizers.placement import integer_values
from quantizers.plan import Range
from quantizers.ranges import Histogram, Numbers, estimate
from quantizers.recipe import Recipe
from quantizers.sites import module_of, sites
from quantizers.stepper import Stepper

if TYPE_CHECKING:
    from torch import Tensor, fx

__all__ = ["MASK", "Moments", "Observed", "observed"]

MASK = -1e4  # half precision's usual stand-in for -inf; no activation of a trained network is there


class Moments:
    """Mean and variance of what a layer reads, by channel, over all positions of all samples."""

    def __init__(self) -> None:
        self._means: list[Numbers] = []
        self._variances: list[Numbers] = []
        self._counts: list[int] = []

    def add(self, value: Tensor, channel: int) -> None:
        """Count a float32 tensor with channels on that axis."""
        rows = value.movedim(channel, -1).reshape(-1, value.shape[channel])
        mean = rows.mean(0)
        self._means.append(mean.double().numpy())
        self._variances.append((rows - mean).square().mean(0).double().numpy())
        self._counts.append(len(rows))

    @property
    def mean(self) -> Numbers:
        """(channels,), float64."""
        found: Numbers = np.average(self._means, axis=0, weights=self._counts)
        return found

    @property
    def variance(self) -> Numbers:
        """(channels,), float64: inside the samples, and between them."""
        between = (np.stack(self._means) - self.mean) ** 2
        found: Numbers = np.average(self._variances + between, axis=0, weights=self._counts)
        return found


@dataclass(frozen=True)
class Observed:
    """What `count` samples showed, each pair by half of the set: `values` by name of the value,
    `inputs` of the layers by name of the call. `modules`: name -> path of its module, if it is in
    one."""

    count: int
    values: Mapping[str, tuple[Histogram, Histogram]]
    inputs: Mapping[str, tuple[Moments, Moments]]
    modules: Mapping[str, str]

    def ranges(self, *, method: str = "mse", bits: int = 8) -> dict[str, Range]:
        """Value -> range, by an estimator of `quantizers.ranges`."""
        return {n: estimate(a.merged(b), method, bits=bits) for n, (a, b) in self.values.items()}

    def ranges_for(self, recipe: Recipe, estimator: str) -> dict[str, Range]:
        """Those of a static recipe's integers; 16 bits have steps enough for all that was seen."""
        if recipe.activations == "i16":
            return self.ranges(method="minmax", bits=16)
        return self.ranges(method=estimator)


def observed(
    graph: fx.GraphModule, samples: Sequence[Sequence[Array]], *, static: bool = True
) -> Observed:
    """Run the flat `graph` on all samples, each one array per input.

    `static`: look at the values of `placement.integer_values` too. Those that hold a mask
    (attention scores with -inf, or with a number that stands for it) are left out and stay float: a
    range that reaches the mask has no steps left for the scores, and one that does not lets the
    masked through.
    """
    import torch

    names = integer_values(graph) if static else ()
    layers = {name: site for site in sites(graph) for name in site.nodes}
    values = {name: (Histogram(), Histogram()) for name in names}
    inputs = {n: (Moments(), Moments()) for n, s in layers.items() if "embedding" not in s.kinds}
    stepper = Stepper.of(graph)
    with torch.inference_mode():
        for index, sample in enumerate(samples):
            held = stepper.start(tuple(sample))
            for node in stepper.nodes:
                if node.name in inputs:
                    read = held[node.all_input_nodes[0]]
                    channel = read.ndim - 1 if "linear" in layers[node.name].kinds else 1
                    inputs[node.name][index % 2].add(read, channel)
                if node.op == "call_function":
                    stepper.step(node, held)
                if node.name in values and float(held[node].min()) <= MASK:
                    del values[node.name]
                if node.name in values:
                    values[node.name][index % 2].add(held[node].numpy())
    modules = {node.name: module_of(node) for node in stepper.nodes}
    return Observed(len(samples), values, inputs, modules)

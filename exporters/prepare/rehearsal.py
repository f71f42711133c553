"""How well a network would hold up if it were quantized, told in seconds instead of minutes.

Weights go to their nearest codes, activations to the extremes that were seen; a bias takes the mean
error that rounded weights make of the mean input (Nagel et al., section 4.2,
https://arxiv.org/abs/1906.04721). What is solved for properly ends higher; what this is for is to
compare ways of preparing the same network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from exporters.prepare.channel_calls import CONVOLUTIONS
from exporters.prepare.channel_weights import Weights, by_input
from exporters.prepare.editing import is_call
from headtail.metrics import finite_db, snr_db
from headtail.tensors import Array
from quantizers.placement import integer_values
from quantizers.plan import Range
from quantizers.recipe import Recipe, Storage
from quantizers.sites import sites, storages
from quantizers.static_graph import LIMITS, affine, fake_quantized

__all__ = ["rehearsed"]

aten = torch.ops.aten
Samples = Sequence[Sequence[Array]]


def rehearsed(graph: fx.GraphModule, recipe: Recipe, seen: Samples, judged: Samples) -> list[float]:
    """SNR in dB of the first output for each of `judged`, calibrated on `seen`."""
    measured = _measured(graph, recipe, seen)
    found = {name: s for name, s in storages(sites(graph), recipe).items() if s.quantized}
    rough = _rounded_weights(graph, found, measured.means)
    figures = []
    with torch.inference_mode():
        for sample in judged:
            inputs = [torch.tensor(array) for array in sample]
            expected = graph(*inputs)[0].numpy()
            given = _Rounding(rough, recipe, measured).run(*inputs)[0].numpy()
            figures.append(finite_db(snr_db(reference=expected, candidate=given)))
    return figures


@dataclass(frozen=True)
class _Measured:
    """Extremes of the values that become integers, mean of every input channel of a layer."""

    values: frozenset[str]
    ranges: Mapping[str, tuple[float, float]]
    means: Mapping[str, torch.Tensor]


def _measured(graph: fx.GraphModule, recipe: Recipe, samples: Samples) -> _Measured:
    values = _integers(graph, recipe)
    ranges: dict[str, tuple[float, float]] = {}
    means: dict[str, torch.Tensor] = {}

    class Observer(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            result = super().run_node(n)
            if n.name in values:
                low, high = ranges.get(n.name, (0.0, 0.0))
                ranges[n.name] = (min(low, float(result.min())), max(high, float(result.max())))
            if is_call(n, aten.linear.default, *CONVOLUTIONS):
                value: torch.Tensor = self.env[n.args[0]]  # type: ignore[index]  # a node
                axis = 1 if is_call(n, *CONVOLUTIONS) else value.ndim - 1
                mean = value.mean([a for a in range(value.ndim) if a != axis]).double()
                means[n.name] = means.get(n.name, torch.zeros(())) + mean / len(samples)
            return result

    with torch.inference_mode():
        for sample in samples:
            # without collection of garbage a layer's input is still there when it is run
            Observer(graph, garbage_collect_values=False).run(*(torch.tensor(a) for a in sample))
    return _Measured(values, ranges, means)


def _integers(graph: fx.GraphModule, recipe: Recipe) -> frozenset[str]:
    if recipe.activation_mode == "static":
        return frozenset(integer_values(graph))
    if recipe.activation_mode == "none":
        return frozenset()
    linear = [node for node in graph.graph.nodes if is_call(node, aten.linear.default)]
    return frozenset(node.args[0].name for node in linear)


def _rounded_weights(
    graph: fx.GraphModule, chosen: Mapping[str, Storage], means: Mapping[str, torch.Tensor]
) -> fx.GraphModule:
    weights = Weights(graph)
    for node in graph.graph.nodes:
        if node.name not in means or str(node.args[1]) == "None":
            continue
        storage = chosen.get(str(getattr(node.args[1], "target", "")))
        weight = weights.of(node, 1)
        if storage is None or weight is None:
            continue
        rounded = _nearest(weight, storage)
        lost = ((weight - rounded) * by_input(weight, means[node.name])).flatten(1).sum(1)
        weights.put(node, 1, rounded)
        weights.add(node, lost)
    return weights.program()


def _nearest(weight: torch.Tensor, storage: Storage) -> torch.Tensor:
    """Levels that reach the largest weight of a row or block; palettes are taken for integers."""
    rows = weight.reshape(weight.shape[0], -1)
    if storage.block:
        rows = weight.reshape(weight.shape[0] * weight.shape[1] // storage.block, -1)
    top = float((1 << (storage.bits - 1)) - 1)
    scale = rows.abs().amax(1, keepdim=True).clamp(min=1e-30) / top
    return ((rows / scale).round() * scale).reshape(weight.shape)


class _Rounding(fx.Interpreter):
    """Runs a graph with values rounded to integers, by ranges given or of the value itself."""

    def __init__(self, graph: fx.GraphModule, recipe: Recipe, measured: _Measured) -> None:
        super().__init__(graph)
        self._dtype = recipe.activations
        self._static = recipe.activation_mode == "static"
        self._measured = measured

    def run_node(self, n: fx.Node) -> Any:
        """The node's result as integers hold it."""
        result = super().run_node(n)
        if n.name not in self._measured.values:
            return result
        low, high = float(result.min()), float(result.max())
        if self._static:
            low, high = self._measured.ranges[n.name]
        steps = affine(Range(min(low, 0.0), max(high, 0.0)), self._dtype)
        return fake_quantized(result, *steps, *LIMITS[self._dtype])

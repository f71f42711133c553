"""A network's weights onto their grids, layer by layer, with what came before already quantized.

    true run   every layer's output as the model gives it ---+
                                                             +-> codes that err least, and a bias
    seen run   every layer's inputs as they will be ---------+   that takes the mean error away

Both runs go through the graph side by side on the calibration samples, so each layer is fitted to
inputs that carry the errors of the layers before it. Bias correction is the empirical one of Nagel
et al., "Data-free quantization through weight equalization and bias correction", section 4.2,
https://arxiv.org/abs/1906.04721. Since it takes the mean error away, codes are chosen for the
inputs with their mean taken off.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from headtail.tensors import Array
from quantizers.fitting import Methods, fitted
from quantizers.plan import Grid, Plan, Range
from quantizers.recipe import Recipe, Storage
from quantizers.sites import Site, replace_weight, sites, storages, weight_of
from quantizers.static_graph import affine

if TYPE_CHECKING:
    from torch import Tensor, fx

__all__ = ["Methods", "Told", "solve"]

Told = Callable[[str, int, int], None]
_EXACT = 32  # bits: such weights stay what they are


def solve(
    graph: fx.GraphModule,
    samples: Sequence[Sequence[Array]],
    recipe: Recipe,
    *,
    ranges: Mapping[str, Range] | None = None,
    methods: Methods | None = None,
    told: Told = lambda module, done, count: None,
) -> tuple[fx.GraphModule, Plan]:
    """The float program whose weights are on their grids, biases corrected; and its plan.

    `graph` is flat, over ATen, and stays as it is. Each of `samples` is one array per input.
    `ranges` are those of the activations that will be integers. `told(module, done, count)` hears
    of every layer. Weights that are stored in half precision are rounded to it.
    """
    import torch

    found = sites(graph)
    chosen = {name: s for name, s in storages(found, recipe).items() if s.bits < _EXACT}
    layers = {n: site for site in found if site.weight in chosen for n in site.nodes}
    integers = recipe.activations
    steps = {name: (*affine(r, integers), integers) for name, r in (ranges or {}).items()}
    twin = _Twin(graph, layers, chosen, steps, methods or Methods(), told)
    with torch.inference_mode():
        twin.run(samples)
    made = _program(graph, twin.weights, twin.biases)
    return made, Plan(recipe, twin.grids, dict(ranges or {}))


@dataclass(frozen=True)
class _Value:
    """What a node gives, one entry per sample, in both runs.

    Both are the same list until the first thing that is quantized.
    """

    true: list[Any]
    seen: list[Any]


class _Twin:
    """Both runs through one graph, and what is solved for on the way."""

    def __init__(
        self,
        graph: fx.GraphModule,
        layers: Mapping[str, Site],
        chosen: Mapping[str, Storage],
        steps: Mapping[str, tuple[float, int, str]],
        methods: Methods,
        told: Told,
    ) -> None:
        self.grids: dict[str, Grid] = {}
        self.weights: dict[str, Tensor] = {}
        self.biases: dict[str, Tensor] = {}
        self._graph = graph
        self._layers = layers
        self._chosen = chosen
        self._steps = steps
        self._methods = methods
        self._told = told
        self._values: dict[fx.Node, _Value] = {}

    def run(self, samples: Sequence[Sequence[Array]]) -> None:
        """Through all nodes, each on all samples; values go when nothing needs them any more."""
        nodes = list(self._graph.graph.nodes)
        last = {source: node for node in nodes for source in node.all_input_nodes}
        inputs = iter(zip(*samples, strict=True))
        for node in nodes:
            if node.op == "output":
                break
            value = self._value(node, inputs, len(samples))
            if node.name in self._steps:
                steps = self._steps[node.name]
                value = replace(value, seen=[_rounded(seen, *steps) for seen in value.seen])
            self._values[node] = value
            for source in node.all_input_nodes:
                if last[source] is node:
                    del self._values[source]

    def _value(self, node: fx.Node, inputs: Any, count: int) -> _Value:
        import torch

        if node.op == "placeholder":
            # copies: an array read from a file is read-only, which torch warns about
            given = [torch.tensor(array) for array in next(inputs)]
            return _Value(given, given)
        if node.op == "get_attr":
            held = [weight_of(self._graph, str(node.target))] * count
            return _Value(held, held)
        arguments = [self._arguments(node, index, "true") for index in range(count)]
        true = [_call(node, *given) for given in arguments]
        if node.name in self._layers:
            return _Value(true, self._layer(node, true))
        sources = [self._values[source] for source in node.all_input_nodes]
        if all(value.true is value.seen for value in sources):
            return _Value(true, true)
        arguments = [self._arguments(node, index, "seen") for index in range(count)]
        return _Value(true, [_call(node, *given) for given in arguments])

    def _arguments(self, node: fx.Node, index: int, which: str) -> tuple[list[Any], dict[str, Any]]:
        from torch import fx

        args, kwargs = fx.node.map_arg(
            (node.args, node.kwargs), lambda source: getattr(self._values[source], which)[index]
        )
        return list(args), dict(kwargs)

    def _layer(self, node: fx.Node, true: list[Any]) -> list[Any]:
        """Fit the layer's weight at its first use and correct its bias at each; its new outputs."""

        site = self._layers[node.name]
        place = 0 if "embedding" in site.kinds else 1
        if site.weight not in self.weights:
            self._told(site.module, len(self.weights), len(self._chosen))
            self.weights[site.weight] = self._stored(node, site, node.args[1 - place])
        values = self.weights[site.weight]
        seen = []
        for index in range(len(true)):
            args, kwargs = self._arguments(node, index, "seen")
            args[place] = values
            seen.append(_call(node, args, kwargs))
        if not self._methods.correct_bias or "embedding" in site.kinds:
            return seen
        return self._corrected(node, true, seen)

    def _stored(self, node: fx.Node, site: Site, read: Any) -> Tensor:
        """The weight's values in its storage, fitted to what the call reads."""
        import torch

        weight, storage = weight_of(self._graph, site.weight), self._chosen[site.weight]
        if not storage.quantized:
            return weight.half().float()
        inputs = self._values[read].seen
        grid = fitted(node, weight, inputs, site, storage, self._methods)
        self.grids[site.weight] = grid
        return torch.from_numpy(grid.values())

    def _corrected(self, node: fx.Node, true: list[Tensor], seen: list[Tensor]) -> list[Tensor]:
        """The mean error of each output channel into the bias."""
        import torch

        rank = true[0].ndim
        channel = rank - 1 if "linear" in str(node.target) else 1
        others = [axis for axis in range(rank) if axis != channel]
        means = [(t - s).double().mean(others) for t, s in zip(true, seen, strict=True)]
        shift = torch.stack(means).mean(0)
        before = node.args[2] if len(node.args) > 2 else None
        old = 0.0 if before is None else self._values[before].true[0].double()  # type: ignore[index]  # a node
        self.biases[node.name] = (old + shift).float()
        wide = shift.float().reshape([-1 if axis == channel else 1 for axis in range(rank)])
        return [value + wide for value in seen]


def _call(node: fx.Node, args: list[Any], kwargs: dict[str, Any]) -> Any:
    return node.target(*args, **kwargs)  # type: ignore[operator]  # of a call_function


def _rounded(value: Tensor, scale: float, zero_point: int, integers: str) -> Tensor:
    """As integers hold it, `quantizers.static_graph` puts the same into the reference."""
    low, high = (-128, 127) if integers == "i8" else (-32767, 32767)
    levels = (value / scale).round().add(zero_point).clamp(low, high)
    return (levels - zero_point) * scale


def _program(
    graph: fx.GraphModule, weights: Mapping[str, Tensor], biases: Mapping[str, Tensor]
) -> fx.GraphModule:
    """A copy of `graph`, names kept, with weights of their own and a bias for every layer."""
    from torch import fx

    nodes = copy.deepcopy(graph.graph)  # names stay, tensors are not in it
    made = fx.GraphModule(graph, nodes)
    for name, weight in weights.items():
        replace_weight(made, name, weight.clone())  # no longer one of inference mode
    for node in list(nodes.nodes):
        if node.name not in biases:
            continue
        name = f"bias_of_{node.name}"
        made.register_buffer(name, biases[node.name])
        with nodes.inserting_before(node):
            held = nodes.get_attr(name)
        held.meta["val"] = node.meta["val"].new_empty(biases[node.name].shape)
        node.args = (*node.args[:2], held, *node.args[3:])
    nodes.eliminate_dead_code()
    nodes.lint()
    return fx.GraphModule(made, nodes).eval()  # without the weights that nothing reads any more

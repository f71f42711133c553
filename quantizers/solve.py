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
from typing import TYPE_CHECKING, Any

from headtail.tensors import Array
from quantizers.fitting import Methods, fitted
from quantizers.plan import Grid, Plan, Range
from quantizers.recipe import Recipe, Storage
from quantizers.sites import Site, replace_weight, sites, storages
from quantizers.static_graph import LIMITS, affine, fake_quantized
from quantizers.stepper import Stepper

if TYPE_CHECKING:
    from torch import Tensor, fx

__all__ = ["Methods", "Told", "solve"]

Told = Callable[[str, int, int], None]
_Values = list[dict["fx.Node", Any]]  # what nodes give, by sample
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
    steps = {name: (*affine(r, integers), *LIMITS[integers]) for name, r in (ranges or {}).items()}
    twin = _Twin(graph, layers, chosen, steps, methods or Methods(), told)
    with torch.inference_mode():
        twin.run(samples)
    made = _program(graph, twin.weights, twin.biases)
    return made, Plan(recipe, twin.grids, dict(ranges or {}))


class _Twin:
    """Both runs through one graph, and what is solved for on the way."""

    def __init__(
        self,
        graph: fx.GraphModule,
        layers: Mapping[str, Site],
        chosen: Mapping[str, Storage],
        steps: Mapping[str, tuple[float, int, int, int]],
        methods: Methods,
        told: Told,
    ) -> None:
        self.grids: dict[str, Grid] = {}
        self.weights: dict[str, Tensor] = {}
        self.biases: dict[str, Tensor] = {}
        self._stepper = Stepper.of(graph)
        self._layers = layers
        self._chosen = chosen
        self._steps = steps
        self._methods = methods
        self._told = told

    def run(self, samples: Sequence[Sequence[Array]]) -> None:
        """Through all nodes, each on all samples; both runs share what nothing has changed."""
        true = [self._stepper.start(tuple(sample)) for sample in samples]
        seen = [dict(values) for values in true]
        for node in self._stepper.nodes:
            if node.op == "call_function":
                self._step(node, true, seen)
            if node.name in self._steps:
                for values in seen:
                    values[node] = fake_quantized(values[node], *self._steps[node.name])

    def _step(self, node: fx.Node, true: _Values, seen: _Values) -> None:
        results = [self._stepper.call(node, values) for values in true]
        changed = results
        if node.name in self._layers:
            changed = self._layer(node, results, seen)
        elif any(true[0][source] is not seen[0][source] for source in node.all_input_nodes):
            changed = [self._stepper.call(node, values) for values in seen]
        for run, given in ((true, results), (seen, changed)):
            for values, result in zip(run, given, strict=True):
                self._stepper.keep(node, result, values)

    def _layer(self, node: fx.Node, true: list[Tensor], seen: _Values) -> list[Tensor]:
        """Fit the layer's weight at its first use and correct its bias at each; its new outputs."""
        site = self._layers[node.name]
        if site.weight not in self.weights:
            self._told(site.module, len(self.weights), len(self._chosen))
            read: Any = node.args[1 if "embedding" in site.kinds else 0]
            inputs = [values[read] for values in seen]
            self.weights[site.weight] = self._stored(node, site, inputs)
        held = self._stepper.holding({site.weight: self.weights[site.weight]})
        found = [self._stepper.call(node, values | held) for values in seen]
        if not self._methods.correct_bias or "embedding" in site.kinds:
            return found
        return self._corrected(node, true, found, seen[0])

    def _stored(self, node: fx.Node, site: Site, inputs: Sequence[Tensor]) -> Tensor:
        """The weight's values in its storage, fitted to what the call reads."""
        import torch

        weight: Tensor = self._stepper.constants[site.weight].contiguous()
        storage = self._chosen[site.weight]
        if not storage.quantized:
            return weight.half().float()
        grid = fitted(node, weight, inputs, site, storage, self._methods)
        self.grids[site.weight] = grid
        return torch.from_numpy(grid.values())

    def _corrected(
        self, node: fx.Node, true: list[Tensor], seen: list[Tensor], values: Mapping[fx.Node, Any]
    ) -> list[Tensor]:
        """The mean error of each output channel into the bias, which is among `values`."""
        import torch

        rank = true[0].ndim
        channel = rank - 1 if "linear" in str(node.target) else 1
        others = [axis for axis in range(rank) if axis != channel]
        means = [(t - s).double().mean(others) for t, s in zip(true, seen, strict=True)]
        shift = torch.stack(means).mean(0)
        before: Any = node.args[2] if len(node.args) > 2 else None
        old = 0.0 if before is None else values[before].double()
        self.biases[node.name] = (old + shift).float()
        wide = shift.float().reshape([-1 if axis == channel else 1 for axis in range(rank)])
        return [value + wide for value in seen]


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

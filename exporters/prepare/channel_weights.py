"""A copy of a graph whose weights take what is done to channels: scales and shifts."""

from __future__ import annotations

import copy

import torch
from torch import fx

from exporters.prepare.channel_calls import NORMS
from exporters.prepare.editing import is_call, weight_of
from quantizers.sites import replace_weight

__all__ = ["Weights", "by_input"]


class Weights:
    """Weights of a flat graph as they become, float64; calls keep their names."""

    def __init__(self, graph: fx.GraphModule) -> None:
        self._graph = graph
        self._new: dict[tuple[str, int], torch.Tensor] = {}

    def of(self, node: fx.Node, place: int) -> torch.Tensor | None:
        """The argument at `place` of a call; None if it has none."""
        if (node.name, place) in self._new:
            return self._new[node.name, place]
        held = weight_of(self._graph, node.args[place]) if place < len(node.args) else None
        return None if held is None else held.double()

    def put(self, node: fx.Node, place: int, value: torch.Tensor) -> None:
        """Make `value` the argument at `place` of a call."""
        self._new[node.name, place] = value

    def divide(self, node: fx.Node, factors: torch.Tensor) -> None:
        """Each channel that a layer or norm gives, by one of `factors`, (channels,)."""
        for place in _places(node):
            value = self.of(node, place)
            if value is not None:
                wide = factors.reshape(-1, *[1] * (value.ndim - 1))
                self._new[node.name, place] = value / wide

    def multiply(self, node: fx.Node, factors: torch.Tensor) -> None:
        """What a layer multiplies each of its input channels with, by one of `factors`."""
        weight = self.of(node, 1)
        assert weight is not None  # it is a layer
        self._new[node.name, 1] = weight * by_input(weight, factors)

    def add(self, node: fx.Node, shift: torch.Tensor) -> None:
        """To each channel that a layer or norm gives, one of `shift`, (channels,)."""
        bias = self.of(node, _places(node)[-1])
        self._new[node.name, _places(node)[-1]] = shift if bias is None else bias + shift

    def program(self) -> fx.GraphModule:
        """The copy: names as they were, and biases where there were none."""
        nodes = copy.deepcopy(self._graph.graph)  # names stay, tensors are not in it
        made = fx.GraphModule(self._graph, nodes)
        named = {node.name: node for node in nodes.nodes}
        for (name, place), value in self._new.items():
            node = named[name]
            held = node.args[place] if place < len(node.args) else None
            if isinstance(held, fx.Node):
                replace_weight(made, str(held.target), value.float())
            else:
                _give(made, node, place, value.float())
        nodes.lint()
        return fx.GraphModule(made, nodes).eval()


def by_input(weight: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """One number per input channel, shaped to multiply a weight (outputs, inputs / groups, ...)."""
    groups = len(values) // weight.shape[1]
    rows = values.reshape(groups, 1, -1).expand(groups, weight.shape[0] // groups, -1)
    return rows.reshape(*weight.shape[:2], *[1] * (weight.ndim - 2))


def _places(node: fx.Node) -> tuple[int, ...]:
    """Where weight and bias are among the arguments."""
    return NORMS[node.target] if is_call(node, *NORMS) else (1, 2)  # type: ignore[index]  # it is a call of one


def _give(graph: fx.GraphModule, node: fx.Node, place: int, value: torch.Tensor) -> None:
    name = f"bias_for_{node.name}"
    graph.register_buffer(name, value)
    with graph.graph.inserting_before(node):
        held = graph.graph.get_attr(name)
    held.meta["val"] = node.meta["val"].new_empty(value.shape)
    arguments = [*node.args, *[None] * (place + 1 - len(node.args))]
    arguments[place] = held
    node.args = tuple(arguments)

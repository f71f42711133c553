"""Which channels of a network may be scaled without a change to what it computes.

Channel c of what a layer gives may be divided by s_c if all that reads it multiplies it by s_c
again. What lies between ties channels to each other: a sum wants one factor for both operands, the
scores of an attention want the inverse factor on keys that queries have. Here every element of
every value gets the number of its class of tied channels, carried through the graph by the graph's
own reshapes: 0 for what must stay as it is, -k for what is multiplied where class k is divided.

Numbers are tensors of the values' shapes, but hold each channel's number once where it is the same
at all places (strides of zero).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from exporters.prepare.channel_calls import (
    CONVOLUTIONS,
    MOVES,
    NORMS,
    PLACES,
    Sole,
    axes_of,
    moved,
    padded_with_numbers,
)
from exporters.prepare.editing import is_call, shape_of, weight_of
from exporters.prepare.tie_classes import Ties

__all__ = ["Channels", "tied_channels"]

aten = torch.ops.aten
# f(s x) = s f(x) for s > 0, element by element
_HOMOGENEOUS = (
    aten.abs.default, aten.leaky_relu.default, aten.neg.default, aten.prelu.default,
    aten.relu.default,
)  # fmt: skip
_Numbers = torch.Tensor | tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Channels:
    """`classes` of channels, numbered from 1.

    `of` has the numbers of every value; `made` those of the channels that a layer or norm gives,
    (outputs,), `read` those of the channels that a layer multiplies with its weights, (inputs,).
    `contracted` are queries and keys: values summed over their last axis with each other.
    """

    classes: int
    of: Mapping[fx.Node, torch.Tensor]
    made: Mapping[fx.Node, torch.Tensor]
    read: Mapping[fx.Node, torch.Tensor]
    contracted: tuple[tuple[fx.Node, fx.Node], ...]


def tied_channels(graph: fx.GraphModule, kept: Collection[str] = ()) -> Channels:
    """The classes of a flat graph over ATen calls; `kept` names values that must stay."""
    walk = _Walk(graph)
    for node in graph.graph.nodes:
        walk.visit(node, kept=node.name in kept)
    return walk.channels()


class _Walk:
    """Numbers of every value, and the ties among them."""

    def __init__(self, graph: fx.GraphModule) -> None:
        self._graph = graph
        self._sole = Sole(graph)
        self._ties = Ties()
        self._of: dict[fx.Node, Any] = {}
        self._made: dict[fx.Node, torch.Tensor] = {}
        self._read: dict[fx.Node, torch.Tensor] = {}
        self._contracted: list[tuple[fx.Node, fx.Node]] = []

    def visit(self, node: fx.Node, *, kept: bool) -> None:
        """Number what a node gives, all 0 if it is to be kept."""
        rule = _RULES.get(node.target) if node.op == "call_function" else None
        numbers = rule(self, node) if rule else None
        if numbers is None:
            for source in node.all_input_nodes:
                self._fix(self._of[source])
            numbers = _nothing(node.meta.get("val"))
        if kept:
            self._fix(numbers)
        self._of[node] = numbers

    def channels(self) -> Channels:
        """What was found."""
        settle = self._ties.settled()
        of = {n: settle(value) for n, value in self._of.items() if isinstance(value, torch.Tensor)}
        made, read = (
            {n: settle(one) for n, one in held.items()} for held in (self._made, self._read)
        )
        return Channels(settle.classes, of, made, read, tuple(self._contracted))

    def _fix(self, numbers: Any) -> None:
        for one in numbers if isinstance(numbers, tuple) else (numbers,):
            self._ties.tie(one, torch.zeros((), dtype=torch.int64))

    def _merged(self, numbers: torch.Tensor, dims: Sequence[int]) -> torch.Tensor:
        """Tied along these axes, of which one place is left."""
        first = numbers
        for dim in dims:
            first = first.narrow(dim, 0, 1)
        self._ties.tie(numbers, first)
        return first

    def _operand(self, node: fx.Node, place: int) -> torch.Tensor | None:
        given = node.args[place]
        found = self._of[given] if isinstance(given, fx.Node) else None
        return found if isinstance(found, torch.Tensor) else None

    def _layer(self, node: fx.Node) -> torch.Tensor | None:
        value = self._operand(node, 0)
        if value is None or not self._sole(node, (1, 2)):
            return None
        axis = 1 if is_call(node, *CONVOLUTIONS) else value.ndim - 1
        others = [dim for dim in range(value.ndim) if dim != axis]
        self._read[node] = self._merged(value, others).reshape(-1)
        return self._fresh(node, axis if axis == 1 else len(shape_of(node)) - 1)

    def _norm(self, node: fx.Node) -> torch.Tensor | None:
        weight = weight_of(self._graph, node.args[2]) if len(node.args) > 2 else None
        if weight is None or weight.ndim != 1 or not self._sole(node, NORMS[node.target]):  # type: ignore[index]  # it is a call of one
            return None
        self._fix(self._of[node.args[0]])  # type: ignore[index]  # a node
        return self._fresh(node, 1 if is_call(node, aten.group_norm.default) else -1)

    def _fresh(self, node: fx.Node, axis: int) -> torch.Tensor:
        """Channels that may have any factor."""
        shape = shape_of(node)
        self._made[node] = self._ties.fresh(shape[axis])
        wide = [1] * len(shape)
        wide[axis] = shape[axis]
        return self._made[node].reshape(wide).expand(shape)

    def _move(self, node: fx.Node) -> _Numbers | None:
        value = self._operand(node, 0)
        return None if value is None else moved(node, value)

    def _item(self, node: fx.Node) -> torch.Tensor | None:
        held: Any = self._of[node.args[0]]  # type: ignore[index]  # a node
        found: torch.Tensor = held[node.args[1]]
        return found

    def _same(self, node: fx.Node) -> torch.Tensor | None:
        return self._operand(node, 0)

    def _places(self, node: fx.Node) -> torch.Tensor | None:
        value = self._operand(node, 0)
        if value is None or padded_with_numbers(node):
            return None
        dims = axes_of(node)
        first = self._merged(value, dims)
        shape = shape_of(node)
        if first.ndim > len(shape):
            first = first.squeeze(dims)
        return first.expand(shape)

    def _sum(self, node: fx.Node) -> torch.Tensor | None:
        left, right = self._operand(node, 0), self._operand(node, 1)
        if left is None or right is None:
            return None
        self._ties.tie(left, right)
        return left.expand(shape_of(node))

    def _product(self, node: fx.Node) -> torch.Tensor | None:
        operands = [self._operand(node, place) for place in (0, 1)]
        kept = [one for one in operands if one is not None]
        kept.sort(key=torch.Tensor.numel)
        free = [one for one in kept if self._ties.free(one)] or kept[-1:]
        if is_call(node, aten.div.Tensor) and free[-1] is not operands[0]:
            return None
        for one in free[:-1]:  # a gate per channel rather than what it gates
            self._fix(one)
        return free[-1].expand(shape_of(node))

    def _joined(self, node: fx.Node) -> torch.Tensor | None:
        parts: Any = node.args[0]
        return torch.cat([self._of[part] for part in parts], *node.args[1:])  # type: ignore[arg-type]  # an axis

    def _matmul(self, node: fx.Node) -> torch.Tensor | None:
        left, right = self._operand(node, 0), self._operand(node, 1)
        if left is None or right is None or min(left.ndim, right.ndim) < 2:
            return None
        if not self._ties.free(left):
            return self._merged(right, [right.ndim - 2]).expand(shape_of(node))
        self._contract(left, right.transpose(-1, -2))
        return _nothing(node.meta["val"])  # type: ignore[return-value]  # one tensor

    def _attention(self, node: fx.Node) -> torch.Tensor | None:
        query, key, value = (self._operand(node, place) for place in range(3))
        if query is None or key is None or value is None or query.shape[:-2] != key.shape[:-2]:
            return None  # heads that share keys are another pattern
        self._contract(query, key)
        self._contracted.append((node.args[0], node.args[1]))  # type: ignore[arg-type]  # nodes
        return self._merged(value, [value.ndim - 2]).expand(shape_of(node))

    def _contract(self, left: torch.Tensor, right: torch.Tensor) -> None:
        """Summed over the last axis of both: what divides one multiplies the other."""
        first, second = (self._merged(one, [one.ndim - 2]) for one in (left, right))
        self._ties.tie(first, -second)


_RULES: dict[Any, Callable[[_Walk, fx.Node], _Numbers | None]] = {
    aten.linear.default: _Walk._layer,
    **dict.fromkeys(CONVOLUTIONS, _Walk._layer),
    **dict.fromkeys(NORMS, _Walk._norm),
    **dict.fromkeys(MOVES, _Walk._move),
    **dict.fromkeys(_HOMOGENEOUS, _Walk._same),
    **dict.fromkeys(PLACES, _Walk._places),
    operator.getitem: _Walk._item,
    aten.add.Tensor: _Walk._sum,
    aten.sub.Tensor: _Walk._sum,
    aten.mul.Tensor: _Walk._product,
    aten.div.Tensor: _Walk._product,
    aten.cat.default: _Walk._joined,
    aten.matmul.default: _Walk._matmul,
    aten.bmm.default: _Walk._matmul,
    aten.scaled_dot_product_attention.default: _Walk._attention,
}


def _nothing(value: Any) -> _Numbers:
    """Zeros for a value, or for each of several."""
    if isinstance(value, (list, tuple)):
        return tuple(_nothing(one) for one in value)  # type: ignore[misc]  # one tensor each
    shape = [int(size) for size in value.shape] if isinstance(value, torch.Tensor) else []
    return torch.zeros((), dtype=torch.int64).expand(shape)

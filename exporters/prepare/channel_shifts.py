"""Which channels may be shifted by a number, and what becomes of the shift.

What a layer or norm gives is made smaller by t_c in channel c, and the biases of the layers that
read it take sum_c w_c t_c more: nothing else changes. In between, a sum of values has the sum of
their shifts, an average the average. An attention's weights sum to one, so that what is taken from
its values is missing from its outputs by as much; and what is taken from its keys shifts all scores
of a query alike, which their softmax does not see.

A shift may not reach a convolution that pads (its zeros would have to be shifted too), an operator
that is not known here, or the network's outputs. Behind a ReLU it holds for channels that are never
below it, which only inputs can tell: those are marked, not decided.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping
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

__all__ = ["Shiftable", "Shifts", "shiftable", "shifts_of"]

aten = torch.ops.aten
_SEED = 0
_MAXIMA = (aten.max_pool1d.default, aten.max_pool2d.default, aten.amax.default)


@dataclass(frozen=True)
class Shiftable:
    """Layer or norm -> for each channel that it gives, may it be shifted? bool (channels,).

    Those of `rectified` are read by a ReLU, which lets through what is positive.
    """

    channels: Mapping[fx.Node, torch.Tensor]
    rectified: frozenset[fx.Node]


@dataclass(frozen=True)
class Shifts:
    """`of`: what every value lacks, of its shape; `read`: what every layer's input channels lack,
    (inputs,)."""

    of: Mapping[fx.Node, torch.Tensor]
    read: Mapping[fx.Node, torch.Tensor]


def shiftable(graph: fx.GraphModule, kept: Collection[str] = ()) -> Shiftable:
    """Look through a flat graph over ATen calls; `kept` names values that must stay."""
    generator = torch.Generator().manual_seed(_SEED)
    sole = Sole(graph)
    given = {}
    for node in graph.graph.nodes:
        if _makes(graph, node) and sole(node, _places(node)):
            count = weight_of(graph, node.args[_places(node)[0]]).shape[0]  # type: ignore[union-attr]  # it has one
            # no two alike, so that different shifts at different places are seen
            random = torch.rand(count, dtype=torch.double, generator=generator) + 0.5
            given[node] = random.requires_grad_()
    walk = _Walk(graph, given, signed=False)
    blocked = walk.run(kept)
    free = {}
    grads = [torch.zeros(())] * len(given)
    if blocked.requires_grad:
        grads = torch.autograd.grad(blocked, list(given.values()), allow_unused=True)  # type: ignore[assignment]  # or None
    for (node, shift), grad in zip(given.items(), grads, strict=True):
        free[node] = torch.ones(len(shift), dtype=torch.bool) if grad is None else grad == 0
        free[node] = free[node].expand(len(shift))
    return Shiftable(free, frozenset(walk.rectified))


def shifts_of(graph: fx.GraphModule, given: Mapping[fx.Node, torch.Tensor]) -> Shifts:
    """What comes of shifting the outputs of layers and norms, each by float64 (channels,)."""
    walk = _Walk(graph, given, signed=True)
    walk.run()
    return Shifts(walk.of, walk.read)


def _makes(graph: fx.GraphModule, node: fx.Node) -> bool:
    if is_call(node, *NORMS):
        weight = weight_of(graph, node.args[2]) if len(node.args) > 2 else None
        biased = len(node.args) > 3 and node.args[3] is not None
        return len(NORMS[node.target]) == 2 and biased and weight is not None and weight.ndim == 1  # type: ignore[index]  # it is a call of one
    return is_call(node, aten.linear.default, *CONVOLUTIONS)


def _places(node: fx.Node) -> tuple[int, ...]:
    return NORMS[node.target] if is_call(node, *NORMS) else (1, 2)  # type: ignore[index]  # it is a call of one


class _Walk:
    """Shifts carried through the graph by its own operators.

    Unsigned, what is subtracted is added: then nothing cancels, and the gradient of the sum of all
    that may not be is positive for every channel that has a part in it.
    """

    def __init__(
        self, graph: fx.GraphModule, given: Mapping[fx.Node, torch.Tensor], *, signed: bool
    ) -> None:
        self.of: dict[fx.Node, Any] = {}
        self.read: dict[fx.Node, torch.Tensor] = {}
        self.rectified: set[fx.Node] = set()
        self._graph = graph
        self._given = given
        self._signed = signed
        self._sole = Sole(graph)
        self._blocked = torch.zeros((), dtype=torch.double)

    def run(self, kept: Collection[str] = ()) -> torch.Tensor:
        """The sum of all shifts that reach what cannot bear them."""
        for node in self._graph.graph.nodes:
            rule = _RULES.get(node.target) if node.op == "call_function" else None
            shift = rule(self, node) if rule else None
            if shift is None:
                for source in node.all_input_nodes:
                    self._block(self.of[source])
                shift = _none(node.meta.get("val"))
            if node.name in kept:
                self._block(shift)
            self.of[node] = shift
        return self._blocked

    def _block(self, shift: Any) -> None:
        for one in shift if isinstance(shift, tuple) else (shift,):
            if one.requires_grad:
                self._blocked = self._blocked + one.sum()

    def _even(self, shift: torch.Tensor, axes: list[int]) -> torch.Tensor:
        """One place along `axes`; blocked where places differ."""
        if not axes:
            return shift
        first = shift
        for axis in axes:
            first = first.narrow(axis, 0, 1)
        uneven = (shift.detach() - first.detach()).abs().amax(axes, keepdim=True) > 0
        if bool(uneven.any()):
            self._block(shift * uneven)
        return first

    def _layer(self, node: fx.Node) -> torch.Tensor | None:
        value: Any = node.args[0]
        shift = self.of[value]
        axis = 1 if is_call(node, *CONVOLUTIONS) else shift.ndim - 1
        if weight_of(self._graph, node.args[1]) is None:
            return None
        padded = is_call(node, *CONVOLUTIONS) and len(node.args) > 4 and any(node.args[4])  # type: ignore[arg-type]  # a list
        if padded or not self._sole(node, (1, 2)):
            self._block(shift)
            return self._made(node)
        even = self._even(shift, [other for other in range(shift.ndim) if other != axis])
        self.read[node] = even.detach().reshape(-1)
        return self._made(node)

    def _norm(self, node: fx.Node) -> torch.Tensor:
        self._block(self.of[node.args[0]])  # type: ignore[index]  # a node
        return self._made(node)

    def _made(self, node: fx.Node) -> torch.Tensor:
        shape = shape_of(node)
        if node not in self._given:
            return _none(node.meta["val"])  # type: ignore[no-any-return]  # one tensor
        along = 1 if is_call(node, *CONVOLUTIONS, aten.group_norm.default) else len(shape) - 1
        wide = [shape[axis] if axis == along else 1 for axis in range(len(shape))]
        return self._given[node].reshape(wide).expand(shape)

    def _move(self, node: fx.Node) -> Any:
        return moved(node, self.of[node.args[0]])  # type: ignore[index]  # a node

    def _item(self, node: fx.Node) -> Any:
        return self.of[node.args[0]][node.args[1]]  # type: ignore[index]  # a node and a number

    def _average(self, node: fx.Node) -> torch.Tensor | None:
        if padded_with_numbers(node):
            return None
        shift = self.of[node.args[0]]  # type: ignore[index]  # a node
        if is_call(node, *_MAXIMA):
            shift = self._even(shift, axes_of(node)).expand(shift.shape)
        given: Any = node.target
        found: torch.Tensor = given(shift, *node.args[1:], **node.kwargs)
        return found

    def _relu(self, node: fx.Node) -> torch.Tensor | None:
        value: Any = node.args[0]
        if value not in self._given:
            return None
        self.rectified.add(value)
        found: torch.Tensor = self.of[value]
        return found

    def _sum(self, node: fx.Node) -> torch.Tensor:
        parts: Any = [self.of[one] if isinstance(one, fx.Node) else 0.0 for one in node.args[:2]]
        factor = float(node.kwargs.get("alpha", 1))  # type: ignore[arg-type]  # a number
        if is_call(node, aten.sub.Tensor) and self._signed:
            factor = -factor
        both: torch.Tensor = parts[0] + parts[1] * (factor if self._signed else abs(factor))
        return both.expand(shape_of(node))

    def _product(self, node: fx.Node) -> torch.Tensor | None:
        """By a constant; two values that are both computed are none of a shift's."""
        left, right = node.args[:2]
        if is_call(node, aten.mul.Tensor) and _is_constant(left):
            left, right = right, left
        if not _is_constant(right) or _is_constant(left):
            return None
        factor: Any = right
        if isinstance(right, fx.Node):
            held = weight_of(self._graph, right)
            assert held is not None  # it is constant
            factor = held.double()
        factor = 1 / factor if is_call(node, aten.div.Tensor) else factor
        found: torch.Tensor = self.of[left] * (factor if self._signed else abs(factor))  # type: ignore[index]  # a node
        return found.expand(shape_of(node))

    def _joined(self, node: fx.Node) -> torch.Tensor:
        parts: Any = node.args[0]
        return torch.cat([self.of[part] for part in parts], *node.args[1:])  # type: ignore[arg-type]  # an axis

    def _matmul(self, node: fx.Node) -> torch.Tensor | None:
        left, right = node.args[:2]
        if not is_call(left, aten.softmax.int) or left.args[1] != -1:  # type: ignore[union-attr]  # a node
            return None  # only weights that sum to one
        shift = self.of[right]  # type: ignore[index]  # a node
        return self._even(shift, [shift.ndim - 2]).expand(shape_of(node))

    def _attention(self, node: fx.Node) -> torch.Tensor | None:
        if len(node.args) > 3 and node.args[3] is not None:
            return None  # a query that may look at nothing has weights that sum to nothing
        query, key, value = (self.of[source] for source in node.args[:3])  # type: ignore[index]  # nodes
        self._block(query)
        self._even(key, [key.ndim - 2])
        return self._even(value, [value.ndim - 2]).expand(shape_of(node))


_RULES: dict[Any, Callable[[_Walk, fx.Node], Any]] = {
    aten.linear.default: _Walk._layer,
    **dict.fromkeys(CONVOLUTIONS, _Walk._layer),
    **dict.fromkeys(NORMS, _Walk._norm),
    **dict.fromkeys(MOVES, _Walk._move),
    **dict.fromkeys(PLACES, _Walk._average),
    operator.getitem: _Walk._item,
    aten.relu.default: _Walk._relu,
    aten.add.Tensor: _Walk._sum,
    aten.sub.Tensor: _Walk._sum,
    aten.mul.Tensor: _Walk._product,
    aten.div.Tensor: _Walk._product,
    aten.cat.default: _Walk._joined,
    aten.matmul.default: _Walk._matmul,
    aten.bmm.default: _Walk._matmul,
    aten.scaled_dot_product_attention.default: _Walk._attention,
}


def _is_constant(value: Any) -> bool:
    return getattr(value, "op", "get_attr") == "get_attr"


def _none(value: Any) -> Any:
    """Zeros for a value, or for each of several."""
    if isinstance(value, (list, tuple)):
        return tuple(_none(one) for one in value)
    shape = [int(size) for size in value.shape] if isinstance(value, torch.Tensor) else []
    return torch.zeros((), dtype=torch.double).expand(shape)

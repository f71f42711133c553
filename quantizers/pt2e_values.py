"""Which values of a float graph XNNPACK can hold as int8, with static ranges.

A *layer* (convolution, linear) computes in integers if its weight does. Other operators that
XNNPACK has in integers join where a value is an integer before and after them; between operators
that it has in float only (layer norm, softmax), quantizing would cost accuracy and gain nothing.
Which operators those are is tried on the runtime in tests/quantizers/test_pt2e_xnnpack.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import fx

__all__ = ["LAYERS", "TABLES", "Placement", "is_padding", "place"]

# operator -> axis of its weight that counts output channels
LAYERS = {
    "aten.conv1d.default": 0, "aten.conv2d.default": 0, "aten.conv2d.padding": 0,
    "aten.linear.default": 0, "aten.conv_transpose2d.input": 1,
}  # fmt: skip
# Functions of one value: XNNPACK tabulates them for all 256 inputs.
TABLES = frozenset(
    f"aten.{name}.default" for name in ("hardswish", "sigmoid", "tanh", "gelu", "leaky_relu")
)
_BOUNDS = frozenset(("aten.relu.default", "aten.hardtanh.default"))
# Input and output have the same scale and zero point.
_MOVES = frozenset(
    f"aten.{name}"
    for name in (
        "view.default", "reshape.default", "flatten.using_ints", "permute.default",
        "transpose.int", "slice.Tensor", "max_pool2d.default",
    )
)  # fmt: skip
_CAT = "aten.cat.default"
_SUMS = frozenset(("aten.add.Tensor", "aten.sub.Tensor", "aten.mul.Tensor"))
_MEANS = frozenset(("aten.mean.dim", "aten.adaptive_avg_pool2d.default"))
_FUSING = frozenset((*LAYERS, "aten.add.Tensor"))


@dataclass
class Placement:
    """`integers`: value -> the value whose range it has. Everybody reads such a value as integers.

    `reads`: (value, reader) pairs where only the reader wants integers. `layers`: those that
    compute in integers. `fused`: values that exist inside a fused kernel only.
    """

    layers: list[fx.Node] = field(default_factory=list)
    integers: dict[fx.Node, fx.Node] = field(default_factory=dict)
    reads: list[tuple[fx.Node, fx.Node]] = field(default_factory=list)
    fused: set[fx.Node] = field(default_factory=set)


def place(graph: fx.Graph, *, quantized: Callable[[fx.Node], bool]) -> Placement:
    """Decide for every value; `quantized` says if a layer's weight is to be integers."""
    layers = {n for n in graph.nodes if str(n.target) in LAYERS and quantized(n)}
    inside = layers | {n for n in graph.nodes if _has_integer_form(n)}
    while stray := {n for n in inside - layers if not _belongs(n, inside)}:
        inside -= stray
    made = Placement(layers=[n for n in graph.nodes if n in layers])
    for node in graph.nodes:
        if node in inside:
            made.reads += [(v, r) for v, r in _operands(node) if not _is_integer(v, inside)]
        if _is_integer(node, inside):
            made.integers[node] = node
    for node in list(made.integers):
        _fuse(node, made)
    _share(made)
    return made


def is_padding(node: Any) -> bool:
    """Zeros around a picture, for one convolution only: XNNPACK pads in the kernel."""
    if str(node.target) not in ("aten.pad.default", "aten.constant_pad_nd.default"):
        return False
    around, *rest = node.args[1:]
    value = [item for item in rest if item not in ("constant", None)]
    users = list(node.users)
    fits = len(around) <= 4 and min(around) >= 0 and not any(value) and len(users) == 1
    return fits and "conv2d" in str(users[0].target)


def _has_integer_form(node: fx.Node) -> bool:
    name = str(node.target)
    if node.op != "call_function" or not _is_float(node):
        return False
    asks = {
        **dict.fromkeys(_MEANS, _is_global_mean),
        **dict.fromkeys(_SUMS, _is_of_floats),
        "aten.slice.Tensor": lambda node: node.args[4:] in ((), (1,)),
        "aten.gelu.default": lambda node: node.kwargs.get("approximate", "none") == "none",
        _CAT: lambda node: all(part.op != "get_attr" for part in node.all_input_nodes),
    }
    ask: Callable[[fx.Node], bool] = asks.get(name, lambda _: name in TABLES | _BOUNDS | _MOVES)
    return ask(node)


def _is_float(node: fx.Node) -> bool:
    return str(getattr(node.meta.get("val"), "dtype", "")) == "torch.float32"


def _is_of_floats(node: fx.Node) -> bool:
    nodes = all(hasattr(item, "op") for item in node.args)
    return nodes and not node.kwargs and all(map(_is_float, node.all_input_nodes))


def _is_global_mean(node: fx.Node) -> bool:
    if str(node.target) == "aten.adaptive_avg_pool2d.default":
        return list(node.args[1]) == [1, 1]  # type: ignore[arg-type]  # a list
    source, axes, *keep = node.args
    rank = source.meta["val"].ndim  # type: ignore[union-attr]  # a node
    over = sorted(axis % rank for axis in axes)  # type: ignore[union-attr]  # numbers
    return rank == 4 and over == [2, 3] and keep == [True] and not node.kwargs


def _belongs(node: fx.Node, inside: Collection[fx.Node]) -> bool:
    """Are integers before and after it?"""
    before = any(_is_integer(value, inside) for value, _ in _operands(node))
    readers = [next(iter(user.users)) if is_padding(user) else user for user in node.users]
    return before and any(user in inside or user.op == "output" for user in readers)


def _operands(node: fx.Node) -> list[tuple[fx.Node, fx.Node]]:
    """Activations and constants that `node` computes with, and who reads them: it, or a padding."""
    values = list(node.all_input_nodes)
    if str(node.target) in LAYERS:
        values = values[:1]
        if is_padding(values[0]):
            return [(values[0].all_input_nodes[0], values[0])]
    return [(value, node) for value in values]


def _is_integer(node: fx.Node, inside: Collection[fx.Node]) -> bool:
    """Constants are not: each reader has its own."""
    if node.op != "placeholder":
        return node in inside
    readers = [next(iter(user.users)) if is_padding(user) else user for user in node.users]
    return _is_float(node) and any(user in inside for user in readers)


def _fuse(node: fx.Node, made: Placement) -> None:
    """A bound right behind an operator is part of its kernel, or is what rounding to int8 does."""
    users = list(node.users)
    if len(users) != 1 or str(users[0].target) not in _BOUNDS or users[0] not in made.integers:
        return
    kernel, bound = str(node.target), users[0]
    if kernel in LAYERS or (kernel in _FUSING and str(bound.target) == "aten.relu.default"):
        del made.integers[node]
        made.fused.add(node)
    elif node.op == "call_function" and kernel not in _MOVES:
        made.integers[node] = bound


def _share(made: Placement) -> None:
    """Values that are only moved have the range of what they came from; all of a concatenation's
    parts have that of the whole."""
    for node in made.integers:
        if str(node.target) in _MOVES:
            source = node.all_input_nodes[0]
            made.integers[node] = made.integers.get(source, source)
    for node in reversed(list(made.integers)):
        if str(node.target) == _CAT:
            whole = made.integers[node]
            parts = {made.integers.get(part, part) for part in node.all_input_nodes}
            for value, leader in made.integers.items():
                if leader in parts:
                    made.integers[value] = whole

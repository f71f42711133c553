"""Fold arithmetic with one constant per channel into the convolution or linear before it.

A layer scale (x * gamma), a bias added by hand or a batch norm costs a pass over the whole value;
in the weights of the projection before it, it costs nothing. Reshapes and permutes in between do
not matter as long as they keep the channel axis whole.
"""

from __future__ import annotations

from math import prod

import torch
from torch import fx

from exporters.prepare.editing import Editor, is_call, shape_of, weight_of

__all__ = ["absorb", "fold", "rewrite"]

aten = torch.ops.aten
_LINEAR = (aten.linear.default,)
_CONVOLUTIONS = (aten.conv1d.default, aten.conv2d.default, aten.conv3d.default)
_TRANSPOSED = (aten.conv_transpose1d.default, aten.conv_transpose2d.input)
_RESHAPES = (
    aten.flatten.using_ints,
    aten.reshape.default,
    aten.reshape_as.default,
    aten.unflatten.int,
    aten.view.default,
    aten._unsafe_view.default,
)
_ARITHMETIC = (aten.mul.Tensor, aten.div.Tensor, aten.add.Tensor, aten.sub.Tensor)


def rewrite(graph: fx.GraphModule) -> int:
    """Number of calls folded."""
    calls = [node for node in graph.graph.nodes if is_call(node, *_ARITHMETIC)]
    return sum(fold(graph, node) is not None for node in calls)


def fold(graph: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Fold `node`, arithmetic of a value and a constant; the value that replaces it, or None."""
    found = _affine(graph, node)
    if found is None:
        return None
    value, axis, scale, shift = found
    if not absorb(graph, value, axis, scale, shift):
        return None
    Editor(graph, node).replace(value)
    return value


def absorb(
    graph: fx.GraphModule,
    value: fx.Node,
    axis: int,
    scale: torch.Tensor,
    shift: torch.Tensor,
) -> bool:
    """Make the projection behind `value` give `value * scale + shift`, per channel of `axis`.

    scale, shift: (channels,) float64. False, and nothing changed, if there is no projection with
    constant weights, or something else reads what would change.
    """
    projection = value
    at: int | None = axis
    while at is not None and _readers(projection) == 1 and is_call(projection, *_RESHAPES):
        source = projection.args[0]
        at = _same_axis(shape_of(projection), at, shape_of(source))  # type: ignore[arg-type]  # a node
        projection = source  # type: ignore[assignment]  # likewise
    if at is None or _readers(projection) != 1 or not _projects(projection, at):
        return False
    weight = weight_of(graph, projection.args[1])
    if weight is None:
        return False
    arguments = [*projection.args, None][: max(3, len(projection.args))]
    bias = None if arguments[2] is None else weight_of(graph, arguments[2])
    if arguments[2] is not None and bias is None:
        return False
    edit = Editor(graph, projection)
    arguments[1] = edit.constant("scaled", _scaled(projection, weight, scale))
    if bias is not None or bool(shift.any()):
        shifted = shift if bias is None else bias.double() * scale + shift
        arguments[2] = edit.constant("scaled_bias", shifted.to(weight.dtype))
    projection.args = tuple(arguments)
    return True


def _affine(
    graph: fx.GraphModule, node: fx.Node
) -> tuple[fx.Node, int, torch.Tensor, torch.Tensor] | None:
    """Value, its channel axis, scale and shift of a call, if its constant is per channel."""
    left, right = node.args[:2]
    swapped = _constant(graph, left) is not None
    value, given = (right, left) if swapped else (left, right)
    constant = _constant(graph, given)
    if constant is None or not isinstance(value, fx.Node) or value.op == "get_attr":
        return None
    if swapped and is_call(node, aten.div.Tensor):
        return None
    shape = shape_of(value)
    axis = _varies_along(constant, shape)
    if axis is None or shape_of(node) != shape or not value.meta["val"].is_floating_point():
        return None
    flat = constant.double().reshape(-1).expand(shape[axis])
    return value, axis, *_scale_and_shift(node, flat, swapped=swapped)


def _scale_and_shift(
    node: fx.Node, constant: torch.Tensor, *, swapped: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the call does to its value; `swapped`: the constant is its first operand."""
    one, nothing = torch.ones_like(constant), torch.zeros_like(constant)
    if is_call(node, aten.mul.Tensor):
        return constant, nothing
    if is_call(node, aten.div.Tensor):
        return 1 / constant, nothing
    sign = -1 if is_call(node, aten.sub.Tensor) else 1
    factor = sign * float(node.kwargs.get("alpha", 1))  # type: ignore[arg-type]  # a number
    return (one * factor, constant) if swapped else (one, constant * factor)


def _constant(graph: fx.GraphModule, value: object) -> torch.Tensor | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return torch.tensor(float(value), dtype=torch.float64)
    return weight_of(graph, value)


def _varies_along(constant: torch.Tensor, shape: tuple[int, ...]) -> int | None:
    """The one axis of `shape` along which the constant varies: axis 1 or the last for a number."""
    padded = (1,) * (len(shape) - constant.ndim) + tuple(constant.shape)
    if constant.ndim > len(shape):
        return None
    axes = [axis for axis, size in enumerate(padded) if size > 1]
    if not axes:
        # a number belongs to any axis: the channels of an image or of tokens
        return 1 if len(shape) == 4 else len(shape) - 1 if shape else None
    return axes[0] if len(axes) == 1 and padded[axes[0]] == shape[axes[0]] else None


def _readers(value: fx.Node) -> int:
    """How many calls read `value`, not its shape only."""
    return sum(
        not is_call(user, aten.reshape_as.default) or user.args[0] is value for user in value.users
    )


def _same_axis(shape: tuple[int, ...], axis: int, source: tuple[int, ...]) -> int | None:
    """Which axis of `source` is `axis` of its reshape to `shape`, if it is whole in both."""
    inner = prod(shape[axis + 1 :])
    for at, size in enumerate(source):
        if size == shape[axis] and prod(source[at + 1 :]) == inner:
            return at
    return None


def _projects(node: fx.Node, axis: int) -> bool:
    """Whether `axis` holds the output channels of a convolution or linear."""
    if is_call(node, *_LINEAR):
        return axis == len(shape_of(node)) - 1
    return axis == 1 and is_call(node, *_CONVOLUTIONS, *_TRANSPOSED)


def _scaled(projection: fx.Node, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Weights whose output channels are multiplied by `scale`."""
    wide = weight.double()
    if not is_call(projection, *_TRANSPOSED):
        return (wide * scale.reshape(-1, *[1] * (weight.ndim - 1))).to(weight.dtype)
    # (in, out / groups, ...): the inputs of a group see the outputs of that group only
    groups = scale.numel() // weight.shape[1]
    rows = scale.reshape(groups, 1, -1).expand(groups, weight.shape[0] // groups, -1)
    factors = rows.reshape(weight.shape[0], -1, *[1] * (weight.ndim - 2))
    return (wide * factors).to(weight.dtype)

"""Fold batch norms into the weights beside them; what is left becomes a 1x1 depthwise convolution.

At inference a batch norm is a scale and a shift per channel. It goes into the projection before
it, else into every projection after it (exact where no zero padding would be shifted too), else it
becomes a depthwise convolution, which runs as one multiply-add and merges with parallel branches
(fuse_branches).
"""

from __future__ import annotations

import operator

import torch
from torch import fx

from exporters.prepare.editing import Editor, is_call, shape_of, weight_of
from exporters.prepare.fold_channel_scale import absorb

__all__ = ["rewrite"]

aten = torch.ops.aten
_INFERENCE = aten._native_batch_norm_legit_no_training.default
_CONVOLUTIONS = (aten.conv1d.default, aten.conv2d.default)


def rewrite(graph: fx.GraphModule) -> int:
    """Number of batch norms folded or replaced."""
    sites = 0
    for node in list(graph.graph.nodes):
        if is_call(node, aten.batch_norm.default, _INFERENCE):
            sites += _fold(graph, node)
    graph.graph.eliminate_dead_code()
    return sites


def _fold(graph: fx.GraphModule, node: fx.Node) -> bool:
    found = _scale_and_shift(graph, node)
    result = _result(node)
    source = node.args[0]
    if found is None or result is None or not isinstance(source, fx.Node):
        return False
    scale, shift = found
    if absorb(graph, source, 1, scale, shift) or _precede(graph, result, scale, shift):
        result.replace_all_uses_with(source)
    else:
        edit = Editor(graph, node)
        result.replace_all_uses_with(_spelled_out(edit, source, scale, shift))
    if result is not node:
        graph.graph.erase_node(result)
    graph.graph.erase_node(node)
    return True


def _scale_and_shift(
    graph: fx.GraphModule, node: fx.Node
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """float64 (channels,) of an inference batch norm with constant statistics, else None."""
    weight, bias, mean, variance = (weight_of(graph, value) for value in node.args[1:5])
    if mean is None or variance is None:
        return None
    if (weight is None) != (node.args[1] is None) or (bias is None) != (node.args[2] is None):
        return None
    whole = is_call(node, aten.batch_norm.default)
    if whole and node.args[5]:
        return None  # normalises with the statistics of its own input
    epsilon = float(node.args[7 if whole else 6])  # type: ignore[arg-type]  # a number
    scale = torch.rsqrt(variance.double() + epsilon)
    if weight is not None:
        scale = scale * weight.double()
    shift = -mean.double() * scale
    return scale, shift if bias is None else shift + bias.double()


def _result(node: fx.Node) -> fx.Node | None:
    """The normalised value: the call, or item 0 of what it returns (if nothing else is used)."""
    if is_call(node, aten.batch_norm.default):
        return node
    used = [user for user in node.users if user.users]
    if len(used) == 1 and used[0].target is operator.getitem and used[0].args[1] == 0:
        for user in set(node.users) - set(used):
            user.graph.erase_node(user)
        return used[0]
    return None


def _precede(
    graph: fx.GraphModule, result: fx.Node, scale: torch.Tensor, shift: torch.Tensor
) -> bool:
    """Put scale and shift into the weights of everything that reads `result`."""
    shifted = bool(shift.any())
    if not all(_takes(graph, user, result, shifted=shifted) for user in result.users):
        return False
    for user in list(result.users):
        weight = weight_of(graph, user.args[1])
        assert weight is not None  # _takes looked
        bias = weight_of(graph, user.args[2]) if len(user.args) > 2 else None
        groups = shape_of(result)[1] // weight.shape[1]
        # the channels that each output reads: those of its group
        parts = [value.reshape(groups, -1) for value in (scale, shift)]
        scales, shifts = (
            part.repeat_interleave(weight.shape[0] // groups, 0).reshape(
                *weight.shape[:2], *[1] * (weight.ndim - 2)
            )
            for part in parts
        )
        wide = weight.double()
        added = (wide * shifts).flatten(1).sum(1) + (0 if bias is None else bias.double())
        edit = Editor(graph, user)
        arguments = [*user.args, None][: max(3, len(user.args))]
        arguments[1] = edit.constant("normalised", (wide * scales).to(weight.dtype))
        arguments[2] = edit.constant("normalised_bias", added.to(weight.dtype))
        user.args = tuple(arguments)
    return bool(result.users)


def _takes(graph: fx.GraphModule, user: fx.Node, result: fx.Node, *, shifted: bool) -> bool:
    """Whether `user` is a projection of `result` with constant weights and no shifted border."""
    if not is_call(user, aten.linear.default, *_CONVOLUTIONS) or user.args[0] is not result:
        return False
    if weight_of(graph, user.args[1]) is None:
        return False
    if len(user.args) > 2 and user.args[2] is not None and weight_of(graph, user.args[2]) is None:
        return False
    if is_call(user, aten.linear.default):
        return len(shape_of(result)) == 2  # the features are the channels
    padding = user.args[4] if len(user.args) > 4 else [0]
    return not shifted or not any(padding)  # type: ignore[arg-type]  # a list of sizes


def _spelled_out(
    edit: Editor, source: fx.Node, scale: torch.Tensor, shift: torch.Tensor
) -> fx.Node:
    dtype, rank = source.meta["val"].dtype, source.meta["val"].ndim
    channels = scale.numel()
    if rank == 4:
        weight = edit.constant("scale", scale.to(dtype).reshape(-1, 1, 1, 1))
        bias = edit.constant("shift", shift.to(dtype))
        arguments = ([1, 1], [0, 0], [1, 1], channels)
        return edit.call(aten.conv2d.default, source, weight, bias, *arguments)
    wide = [1, channels, *[1] * (rank - 2)]
    factor = edit.constant("scale", scale.to(dtype).reshape(wide))
    term = edit.constant("shift", shift.to(dtype).reshape(wide))
    scaled = edit.call(aten.mul.Tensor, source, factor)
    return edit.call(aten.add.Tensor, scaled, term)

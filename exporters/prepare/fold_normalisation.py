"""The normalisation of pixels, (x * scale - mean) / std, moved into the first convolution.

The scale belongs to the weights always, the mean to the bias where nothing is padded: around a
padded convolution are zeros of *normalised* values, and a pixel of value zero is something else. So
there a subtraction of the mean stays in front, and what is padded is zero on both sides of it.
Folding as such is Jacob et al., section 3.2, https://arxiv.org/abs/1712.05877, for batch norms.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import fx

from exporters.prepare.affine_folding import fold_affine
from exporters.prepare.editing import Editor, is_call, shape_of, weight_of

__all__ = ["rewrite"]

aten = torch.ops.aten
_ARITHMETIC = (aten.mul.Tensor, aten.div.Tensor, aten.add.Tensor, aten.sub.Tensor)


@dataclass
class _Affine:
    """`scale * input + shift` with one number per channel, float64."""

    scale: torch.Tensor
    shift: torch.Tensor

    def then(self, call: fx.Node, number: torch.Tensor) -> None:
        if is_call(call, aten.mul.Tensor, aten.div.Tensor):
            factor = number if is_call(call, aten.mul.Tensor) else 1 / number
            self.scale, self.shift = self.scale * factor, self.shift * factor
        else:
            self.shift = self.shift + (number if is_call(call, aten.add.Tensor) else -number)


def rewrite(graph: fx.GraphModule) -> int:
    """Number of inputs whose normalisation was folded, whole or but for a subtraction."""
    inputs = [node for node in graph.graph.nodes if node.op == "placeholder"]
    return sum(_fold(graph, node) for node in inputs)


def _fold(graph: fx.GraphModule, start: fx.Node) -> int:
    end, axis, total = _normalised(graph, start)
    if end is start or not torch.isfinite(total.scale).all():
        return 0
    scale, shift = total.scale.float(), total.shift.float()
    shifted = bool(shift.any())
    if fold_affine(graph, end, axis, scale, shift if shifted else None):
        end.replace_all_uses_with(start)
        return 1
    if not shifted or not total.scale.all() or _is_centred(end, start):
        return 0
    if not fold_affine(graph, end, axis, scale, None):
        return 0
    edit = Editor(graph, end)
    sizes = [1] * len(shape_of(start))
    sizes[axis] = -1
    mean = (-total.shift / total.scale).float().reshape(sizes)
    edit.replace(edit.call(aten.sub.Tensor, start, edit.constant("mean", mean)))
    return 1


def _is_centred(end: fx.Node, start: fx.Node) -> bool:
    """Is there nothing but one subtraction already?"""
    return is_call(end, aten.sub.Tensor, aten.add.Tensor) and end.args[0] is start


def _normalised(graph: fx.GraphModule, start: fx.Node) -> tuple[fx.Node, int, _Affine]:
    """The last of the calls that normalise an input, its axis of channels, and what they do."""
    end, axis = start, None
    one = torch.ones((), dtype=torch.float64)
    total = _Affine(one, one - 1)
    value = start.meta["val"]
    if value.dtype != torch.float32 or value.ndim < 2:
        return start, 1, total
    while len(end.users) == 1:
        (user,) = end.users
        found = _constant(graph, user, end)
        if found is None:
            break
        number, place = found
        if place is not None:
            if axis not in (None, place):
                break
            axis = place
        total.then(user, number)
        end = user
    axis = 1 if axis is None else axis  # the same number for all channels, wherever they are
    channels = shape_of(start)[axis]
    return end, axis, _Affine(total.scale.expand(channels), total.shift.expand(channels))


def _constant(
    graph: fx.GraphModule, call: fx.Node, value: fx.Node
) -> tuple[torch.Tensor, int | None] | None:
    """The operand of an arithmetic call on `value`: a number, or one per channel and their axis."""
    if not is_call(call, *_ARITHMETIC) or call.args[0] is not value or call.kwargs:
        return None
    other, sizes = call.args[1], shape_of(value)
    if isinstance(other, (int, float)):
        return torch.tensor(float(other), dtype=torch.float64), None
    tensor = weight_of(graph, other)
    if tensor is None or shape_of(call) != sizes:
        return None
    if tensor.numel() == 1:
        return tensor.double().reshape(()), None
    lined = [1] * (len(sizes) - tensor.ndim) + list(tensor.shape)
    places = [place for place, size in enumerate(lined) if size != 1]
    return (tensor.double().reshape(-1), places[0]) if len(places) == 1 else None

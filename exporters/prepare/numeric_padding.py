"""Convolutions whose padding is a word (`same`, `valid`) get the numbers it stands for.

What looks for convolutions then finds these too: quantization, folding, merging. Where `same` needs
one row or column more at the end than at the start, no numbers of a convolution say so, and the
word stays.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from exporters.prepare.editing import Editor, is_call, shape_of

__all__ = ["rewrite"]

aten = torch.ops.aten
_NUMERIC = {
    aten.conv1d.padding: aten.conv1d.default,
    aten.conv2d.padding: aten.conv2d.default,
    aten.conv3d.padding: aten.conv3d.default,
}
_DEFAULTS = (None, [1], "valid", [1], 1)  # bias, stride, padding, dilation, groups


def rewrite(graph: fx.GraphModule) -> int:
    """Number of convolutions rewritten."""
    return sum(
        _spell_out(graph, node) for node in list(graph.graph.nodes) if is_call(node, *_NUMERIC)
    )


def _spell_out(graph: fx.GraphModule, node: fx.Node) -> bool:
    value, weight = node.args[:2]
    given: tuple[Any, ...] = (*node.args[2:], *_DEFAULTS[len(node.args) - 2 :])
    bias, stride, word, dilation, groups = given
    kernel = shape_of(weight)[2:]  # type: ignore[arg-type]  # a node
    padding = _padding(str(word), kernel, _each(dilation, len(kernel)))
    if padding is None:
        return False
    edit = Editor(graph, node)
    geometry = (stride, padding, dilation, groups)
    edit.replace(edit.call(_NUMERIC[node.target], value, weight, bias, *geometry))  # type: ignore[index]  # it is a call of one
    return True


def _padding(word: str, kernel: tuple[int, ...], dilation: list[int]) -> list[int] | None:
    """Zeros at each end of every axis; None if the ends differ."""
    if word == "valid":
        return [0] * len(kernel)
    both = [step * (taps - 1) for taps, step in zip(kernel, dilation, strict=True)]
    return None if any(total % 2 for total in both) else [total // 2 for total in both]


def _each(sizes: Any, rank: int) -> list[int]:
    return list(sizes) * rank if len(sizes) == 1 else list(sizes)

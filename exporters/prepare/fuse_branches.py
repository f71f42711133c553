"""Merge parallel convolutions whose results are added into one convolution.

RepVGG (https://arxiv.org/abs/2101.03697), MobileOne, RepViT and FastViT train a layer as a sum of
convolutions of the same input (3x3, 1x1, the input itself); at inference one kernel is their sum.
Found by what the graph computes, not by the names of modules: it also merges a residual around a
depthwise convolution, or the differences and layer scales of FastViT's mixers. Two convolutions
are left apart if one kernel would multiply more than both (1x7 beside 7x1, depthwise beside dense).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import torch
from torch import fx
from torch.nn.functional import pad

from exporters.prepare import fold_channel_scale
from exporters.prepare.editing import Editor, is_call, shape_of, weight_of

__all__ = ["rewrite"]

aten = torch.ops.aten
_SUMS = (aten.add.Tensor, aten.sub.Tensor)
_SCALES = (aten.mul.Tensor, aten.div.Tensor)


@dataclass(frozen=True)
class _Branch:
    """A 2-D convolution of `source`: kernel (out, in / groups, kh, kw) and bias (out,), float64.

    `origin`: the modules that it comes from, outermost first, each key -> (path, type).
    """

    source: fx.Node
    kernel: torch.Tensor
    bias: torch.Tensor
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    origin: Mapping[str, tuple[str, Any]]

    def scaled(self, factor: float) -> _Branch:
        """This branch times a number."""
        kernel, bias = self.kernel * factor, self.bias * factor
        return replace(self, kernel=kernel, bias=bias)


def rewrite(graph: fx.GraphModule) -> int:
    """Number of sums merged and scales folded into what was merged."""
    sites = 0
    for node in list(graph.graph.nodes):
        if is_call(node, *_SUMS) and _merge(graph, node):
            sites += 1
        elif is_call(node, *_SUMS, *_SCALES):
            # a scale on a sum that was merged: what it is added to next may merge too
            sites += fold_channel_scale.fold(graph, node) is not None
    graph.graph.eliminate_dead_code()
    return sites


def _merge(graph: fx.GraphModule, node: fx.Node) -> bool:
    left, right = node.args[:2]
    factor = node.kwargs.get("alpha", 1)
    if not isinstance(left, fx.Node) or not isinstance(right, fx.Node) or factor != 1:
        return False
    first, second = _branch(graph, left), _branch(graph, right)
    if first is None and second is not None and second.source is left:
        first = _identity(second)
    if second is None and first is not None and first.source is right:
        second = _identity(first)
    if first is None or second is None or first.source is not second.source:
        return False
    merged = _sum(first, second.scaled(-1) if is_call(node, aten.sub.Tensor) else second)
    if merged is None:
        return False
    dtype = node.meta["val"].dtype
    edit = Editor(graph, node)
    kernel = edit.constant("merged", merged.kernel.to(dtype))
    bias = edit.constant("merged_bias", merged.bias.to(dtype))
    geometry = (list(merged.stride), list(merged.padding), list(merged.dilation), merged.groups)
    result = edit.call(aten.conv2d.default, merged.source, kernel, bias, *geometry)
    if shape_of(result) != shape_of(node):
        graph.graph.erase_node(result)
        return False
    result.meta["nn_module_stack"] = dict(merged.origin)
    edit.replace(result)
    return True


def _branch(graph: fx.GraphModule, node: fx.Node) -> _Branch | None:
    """A convolution that only the sum reads, with constant weights."""
    if not is_call(node, aten.conv2d.default) or len(node.users) != 1:
        return None
    source = node.args[0]
    weight = weight_of(graph, node.args[1])
    given = node.args[2] if len(node.args) > 2 else None
    bias = weight_of(graph, given)
    if weight is None or not isinstance(source, fx.Node) or (bias is None) != (given is None):
        return None
    wide = torch.zeros(weight.shape[0], dtype=torch.float64) if bias is None else bias.double()
    stride, padding, dilation = (_pair(node, at, value) for at, value in ((3, 1), (4, 0), (5, 1)))
    groups = int(node.args[6]) if len(node.args) > 6 else 1  # type: ignore[arg-type]  # a number
    origin = node.meta.get("nn_module_stack") or {}
    return _Branch(source, weight.double(), wide, stride, padding, dilation, groups, origin)


def _pair(node: fx.Node, at: int, default: int) -> tuple[int, ...]:
    given = list(node.args[at]) if len(node.args) > at else [default]  # type: ignore[arg-type]  # a list
    return tuple(given * 2 if len(given) == 1 else given)


def _identity(beside: _Branch) -> _Branch | None:
    """The source itself as a convolution with as many groups as the branch `beside` it."""
    out, inner = beside.kernel.shape[:2]
    if out != inner * beside.groups or beside.stride != (1, 1):
        return None
    kernel = torch.eye(inner, dtype=torch.float64).repeat(beside.groups, 1)[:, :, None, None]
    bias = torch.zeros(out, dtype=torch.float64)
    geometry = ((1, 1), (0, 0), (1, 1), beside.groups)
    return _Branch(beside.source, kernel, bias, *geometry, beside.origin)


def _sum(first: _Branch, second: _Branch) -> _Branch | None:
    """One convolution that gives the sum of both, if it multiplies no more than they do."""
    if first.stride != second.stride or first.kernel.shape[0] != second.kernel.shape[0]:
        return None
    groups = min(first.groups, second.groups)
    spans = [_span(first, second, axis) for axis in (0, 1)]
    parts = [_regrouped(branch, groups) for branch in (first, second)]
    if None in spans or None in parts:
        return None
    placed = [
        _placed(part, branch, spans)  # type: ignore[arg-type]  # None was looked for
        for part, branch in zip(parts, (first, second), strict=True)
    ]
    kernel = placed[0] + placed[1]
    if kernel.numel() > first.kernel.numel() + second.kernel.numel():
        return None
    padding = tuple(span[0] for span in spans if span is not None)
    dilation = tuple(span[2] for span in spans if span is not None)
    bias = first.bias + second.bias
    origin = _shared(first.origin, second.origin)
    return _Branch(first.source, kernel, bias, first.stride, padding, dilation, groups, origin)


def _shared(
    first: Mapping[str, tuple[str, Any]], second: Mapping[str, tuple[str, Any]]
) -> dict[str, tuple[str, Any]]:
    """The modules of a sum: down to the one whose path both paths begin with.

    That of one of them where they begin with nothing, since rules go by path.
    """
    innermost = [[("", ""), *stack.values()][-1] for stack in (first, second)]
    paths = [path.split(".") for path, _ in innermost]
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(*paths, strict=False))
    path = ".".join(part for part, _ in pairs)
    if not path:
        return dict(first if paths[0] != [""] else second)
    kept = {key: held for key, held in first.items() if f"{path}.".startswith(f"{held[0]}.")}
    outer = {key: held for key, held in first.items() if not held[0]}
    named = any(held[0] == path for held in kept.values())
    return outer | kept | ({} if named else {path: (path, "torch.nn.modules.module.Module")})


def _span(first: _Branch, second: _Branch, axis: int) -> tuple[int, int, int] | None:
    """Padding, taps and dilation along an axis that hold the taps of both kernels.

    Tap i of a kernel reads the input at distance `dilation * i - padding` from the output.
    """
    wide = [branch for branch in (first, second) if branch.kernel.shape[2 + axis] > 1]
    steps = {branch.dilation[axis] for branch in wide} or {1}
    step = steps.pop()
    starts = [-branch.padding[axis] for branch in (first, second)]
    if steps or (starts[0] - starts[1]) % step:
        return None
    ends = [
        start + step * (branch.kernel.shape[2 + axis] - 1)
        for start, branch in zip(starts, (first, second), strict=True)
    ]
    return -min(starts), (max(ends) - min(starts)) // step + 1, step


def _regrouped(branch: _Branch, groups: int) -> torch.Tensor | None:
    """The kernel written with fewer groups: zeros where a group does not read."""
    if branch.groups == groups:
        return branch.kernel
    if branch.groups % groups:
        return None
    together = branch.groups // groups
    out, inner, *size = branch.kernel.shape
    each = out // branch.groups
    blocks = branch.kernel.reshape(groups, together, each, inner, *size)
    wider = branch.kernel.new_zeros(groups, together, each, together, inner, *size)
    for place in range(together):
        wider[:, place, :, place] = blocks[:, place]
    return wider.reshape(out, together * inner, *size)


def _placed(
    kernel: torch.Tensor, branch: _Branch, spans: list[tuple[int, int, int]]
) -> torch.Tensor:
    """The kernel among zeros, where the merged kernel's taps read the same inputs."""
    margins: list[int] = []
    for axis in (1, 0):  # pad() counts axes from the last
        padding, taps, step = spans[axis]
        before = (padding - branch.padding[axis]) // step
        margins += [before, taps - before - kernel.shape[2 + axis]]
    return pad(kernel, margins)

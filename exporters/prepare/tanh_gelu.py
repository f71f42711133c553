"""Write GELU's tanh approximation out.

The XNNPACK delegate takes gelu(approximate="tanh") and computes the exact one, without a word
(executorch 1.5.1, backends/xnnpack/operators/op_gelu.py does not read the argument): 60 dB.
https://arxiv.org/abs/1606.08415
"""

from __future__ import annotations

import math

import torch
from torch import fx

from exporters.prepare.editing import Editor, is_call

__all__ = ["rewrite"]

aten = torch.ops.aten


def rewrite(graph: fx.GraphModule) -> int:
    """Number of approximations written out."""
    sites = 0
    for node in list(graph.graph.nodes):
        if is_call(node, aten.gelu.default) and node.kwargs.get("approximate") == "tanh":
            _expand(graph, node)
            sites += 1
    return sites


def _expand(graph: fx.GraphModule, node: fx.Node) -> None:
    edit, value = Editor(graph, node), node.args[0]
    square = edit.call(aten.mul.Tensor, value, value)
    slope = edit.call(aten.add.Tensor, edit.call(aten.mul.Tensor, square, 0.044715), 1.0)
    inner = edit.call(
        aten.mul.Tensor, edit.call(aten.mul.Tensor, value, slope), math.sqrt(8 / math.pi)
    )
    # (1 + tanh(x / 2)) / 2 is the sigmoid of x
    edit.replace(edit.call(aten.mul.Tensor, value, edit.call(aten.sigmoid.default, inner)))

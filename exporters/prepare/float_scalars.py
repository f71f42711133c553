"""Write whole numbers in float arithmetic as floats: `x / 2` as `x / 2.0`.

ExecuTorch makes a tensor of each number; an int64 one is converted at run time, by an operator that
no delegate takes, before each use.
"""

from __future__ import annotations

import torch
from torch import fx

from exporters.prepare.editing import is_call

__all__ = ["rewrite"]

aten = torch.ops.aten
_ARITHMETIC = (aten.add.Tensor, aten.div.Tensor, aten.mul.Tensor, aten.sub.Tensor)


def rewrite(graph: fx.GraphModule) -> int:
    """Number of whole numbers written as floats."""
    sites = 0
    for node in list(graph.graph.nodes):
        if not is_call(node, *_ARITHMETIC) or not node.meta["val"].is_floating_point():
            continue
        values = [value.meta["val"] for value in node.all_input_nodes]
        if not all(value.is_floating_point() for value in values):
            continue
        for place, value in enumerate(node.args):
            if isinstance(value, int) and not isinstance(value, bool):
                node.update_arg(place, float(value))
                sites += 1
    return sites

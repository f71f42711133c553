"""Write hard sigmoid as what it is: a scale and a shift, clipped to 0 and 1.

Decomposed by a converter it is clamp(x + 3, 0, 6) / 6, three passes of which the whole numbers are
converted at run time, by an operator that no delegate takes (MobileNetV3's squeeze-and-excite). As
x / 6 + 1/2, clipped, the scale and the shift fold into the convolution before, and the clip is its
activation (Howard et al., Searching for MobileNetV3, https://arxiv.org/abs/1905.02244).
"""

from __future__ import annotations

import torch
from torch import fx

from exporters.prepare.editing import Editor, is_call

__all__ = ["rewrite"]

aten = torch.ops.aten


def rewrite(graph: fx.GraphModule) -> int:
    """Number of hard sigmoids written so."""
    found = [node for node in graph.graph.nodes if is_call(node, aten.hardsigmoid.default)]
    for node in found:
        edit = Editor(graph, node)
        scaled = edit.call(aten.mul.Tensor, node.args[0], 1 / 6)
        shifted = edit.call(aten.add.Tensor, scaled, 0.5)
        edit.replace(edit.call(aten.hardtanh.default, shifted, 0.0, 1.0))
    return len(found)

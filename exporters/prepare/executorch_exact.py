"""What ExecuTorch 1.5 lowers wrong without a word, or not at all, in forms that arrive.

Found by lowering operators one at a time with odd attributes. XNNPACK's bilinear resize is given
the sizes only, so a scale factor that does not divide the image is lost; a bicubic resize is
decomposed into gathers for minutes, and an antialiased one has no kernel. As constant matrices all
of them are delegated.
"""

from __future__ import annotations

import torch
from torch import fx

from exporters.prepare.editing import is_call
from exporters.prepare.exact_resize import resize

__all__ = ["rewrite"]

aten = torch.ops.aten


def rewrite(graph: fx.GraphModule) -> int:
    """Number of resizes written as matrices."""
    return resize(graph, _arrives)


def _arrives(node: fx.Node) -> bool:
    if is_call(node, aten.upsample_bilinear2d.vec):
        factors = node.args[-1]
        return factors is None or not any(factor % 1 for factor in factors)  # type: ignore[union-attr,operator]  # a list of floats by the schema
    return is_call(node, aten.upsample_nearest2d.vec, aten._upsample_nearest_exact2d.vec)

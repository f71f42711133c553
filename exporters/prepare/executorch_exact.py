"""What ExecuTorch 1.5 lowers wrong without a word, or not at all, in forms that arrive.

Found by lowering operators one at a time with odd attributes. XNNPACK's bilinear resize is given
the sizes only, so a scale factor that does not divide the image is lost; a bicubic resize is
decomposed into gathers, which mostly took over 40 s to lower, and an antialiased one has no kernel.
As constant matrices all of them are delegated. The remainder of whole numbers has the sign of the
dividend, not the divisor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from exporters.prepare.coreml_forms import Form, Given
from exporters.prepare.editing import is_call
from exporters.prepare.exact_forms import write_forms
from exporters.prepare.exact_resize import resize

__all__ = ["rewrite"]

aten = torch.ops.aten


def rewrite(graph: fx.GraphModule) -> int:
    """Number of calls written in another form."""
    return write_forms(graph, _FORMS) + resize(graph, _arrives)


def _arrives(node: fx.Node) -> bool:
    if is_call(node, aten.upsample_bilinear2d.vec):
        factors = node.args[-1]
        return factors is None or not any(factor % 1 for factor in factors)  # type: ignore[union-attr,operator]  # a list of floats by the schema
    return is_call(node, aten.upsample_nearest2d.vec, aten._upsample_nearest_exact2d.vec)


def _whole(given: Given) -> bool:
    return not given["self"].is_floating_point() and not isinstance(given["other"], float)


def _remainder(self: Tensor, other: Any) -> Tensor:
    whole: Tensor = torch.div(self, other, rounding_mode="floor")
    rest: Tensor = self - whole * other
    return rest


_FORMS: dict[Callable[..., Any], Form] = {
    aten.remainder.Scalar: Form(_whole, _remainder),
    aten.remainder.Tensor: Form(_whole, _remainder),
}

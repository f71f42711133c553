"""What litert-torch 0.9 writes wrong without a word, or cannot write, in forms that arrive.

Found by converting operators one at a time with odd attributes. It gives a resize the sizes only:
nearest picks pixels by centres where PyTorch rounds down (19 dB on GhostNetV2), and a bilinear
scale factor that does not divide the image is lost; a max pool whose padding differs between the
axes becomes one with "SAME" padding, of another shape. A transposed convolution with output
padding, a sum with `alpha`, a flip of several axes and a 1-D "same" convolution end in errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # the name everybody reads at once
from torch import Tensor, fx

from exporters.prepare.coreml_forms import Form, Given
from exporters.prepare.editing import is_call, shape_of
from exporters.prepare.exact_forms import write_forms
from exporters.prepare.exact_resize import resize

__all__ = ["rewrite"]

aten = torch.ops.aten


def rewrite(graph: fx.GraphModule) -> int:
    """Number of calls written in another form."""
    return write_forms(graph, _FORMS) + resize(graph, _arrives)


def _arrives(node: fx.Node) -> bool:
    """Whether litert-torch writes this resize right."""
    fractional = node.args[-1] is not None and any(factor % 1 for factor in node.args[-1])  # type: ignore[union-attr,operator]  # a list of floats by the schema
    if is_call(node, aten.upsample_nearest2d.vec):
        before, after = shape_of(node.args[0]), shape_of(node)  # type: ignore[arg-type]  # a node
        return not fractional and all(
            b % a == 0 for a, b in zip(before[2:], after[2:], strict=True)
        )
    if is_call(node, aten.upsample_bilinear2d.vec):
        return not fractional
    return not is_call(node, aten._upsample_bilinear2d_aa.vec, aten._upsample_bicubic2d_aa.vec)


def _alpha(given: Given) -> bool:
    return bool(given.get("alpha", 1) != 1)


def _pair(given: Sequence[int]) -> list[int]:
    return list(given) * 2 if len(given) == 1 else list(given)


def _lopsided(given: Given) -> bool:
    """A padding that is not the same along both axes, for the same window."""
    sizes = (given["kernel_size"], given.get("padding") or [0])
    return any(sizes[1]) and any(len(set(_pair(size))) > 1 for size in sizes)


def _max_pool(
    *,
    self: Tensor,
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int] = (1,),  # type: ignore[assignment]  # the schema's default
    ceil_mode: bool = False,
) -> Tensor:
    rows, columns = _pair(padding)
    padded = F.pad(self, [columns, columns, rows, rows], value=float("-inf"))
    window, steps, gaps = (_pair(size) for size in (kernel_size, stride or kernel_size, dilation))
    return torch.max_pool2d(padded, window, steps, [0, 0], gaps, ceil_mode)


def _outwards(given: Given) -> bool:
    return any(given.get("output_padding", [0]))


def _transposed(convolve: Callable[..., Tensor]) -> Form:
    def write(
        *,
        input: Tensor,  # noqa: A002  # the schema's name
        stride: Sequence[int] = (1,),
        padding: Sequence[int] = (0,),
        output_padding: Sequence[int] = (0,),
        dilation: Sequence[int] = (1,),
        **weights: Any,
    ) -> Tensor:
        """The whole convolution, cut where padding would cut it, or filled up with zeros."""
        axes = input.ndim - 2
        steps, gaps = (list(sizes) * (axes // len(sizes)) for sizes in (stride, dilation))
        bias = weights.pop("bias", None)
        value = convolve(input, **weights, stride=steps, dilation=gaps, **_unpadded(axes))
        for place in range(axes):
            margin, more = (
                sizes[min(place, len(sizes) - 1)] for sizes in (padding, output_padding)
            )
            length = value.shape[2 + place] - 2 * margin + more
            kept = min(length, value.shape[2 + place] - margin)
            value = value.narrow(2 + place, margin, kept)
            after = [0, 0] * (axes - 1 - place) + [0, length - kept]
            value = F.pad(value, after) if length > kept else value
        return value if bias is None else value + bias.reshape(-1, *[1] * axes)

    return Form(_outwards, write)


def _unpadded(axes: int) -> dict[str, list[int]]:
    return {"padding": [0] * axes, "output_padding": [0] * axes}


def _same(
    *,
    input: Tensor,  # noqa: A002  # the schema's name
    weight: Tensor,
    padding: str = "valid",
    dilation: Sequence[int] = (1,),
    **others: Any,
) -> Tensor:
    margin = dilation[0] * (weight.shape[2] - 1) if padding == "same" else 0
    padded = F.pad(input, [margin // 2, margin - margin // 2])
    return F.conv1d(padded, weight, dilation=list(dilation), **others)


def _flip(self: Tensor, dims: list[int]) -> Tensor:
    for axis in dims:
        self = torch.flip(self, [axis])
    return self


_FORMS: dict[Callable[..., Any], Form] = {
    aten.max_pool2d.default: Form(_lopsided, _max_pool),
    aten.add.Tensor: Form(_alpha, lambda self, other, alpha: self + other * alpha),
    aten.sub.Tensor: Form(_alpha, lambda self, other, alpha: self - other * alpha),
    aten.rsub.Scalar: Form(_alpha, lambda self, other, alpha: other - self * alpha),
    aten.rsub.Tensor: Form(_alpha, lambda self, other, alpha: other - self * alpha),
    aten.conv1d.padding: Form(lambda given: True, _same),
    aten.conv_transpose1d.default: _transposed(F.conv_transpose1d),
    aten.conv_transpose2d.input: _transposed(F.conv_transpose2d),
    aten.flip.default: Form(lambda given: len(given["dims"]) > 1, _flip),
}

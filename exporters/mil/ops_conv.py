"""MIL convolution: iOS15.conv and iOS17.conv, whose weights may have another float type.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
Data is (n, channels, *spatial) with one to three spatial axes. `pad` lists before and after per
spatial axis. `same` puts the odd element after, `same_lower` before.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody reads at once

from exporters.mil.optable import Arguments, Default, operation

Pads = list[tuple[int, int]]
CONV: dict[int, Callable[..., torch.Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CONV_TRANSPOSE: dict[int, Callable[..., torch.Tensor]] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}


def _same_pads(spans: list[int], *, before: bool) -> Pads:
    """Split `spans`, the total padding per axis, around the data; never less than none."""
    halves = [max(0, span) // 2 for span in spans]
    rests = [max(0, span) - half for span, half in zip(spans, halves, strict=True)]
    return list(zip(rests, halves, strict=True) if before else zip(halves, rests, strict=True))


def window_pads(a: Arguments, window: list[int], strides: list[int]) -> Pads:
    """Padding around x for windows of extent `window` (dilation included)."""
    sizes, kind = list(a.tensor("x").shape[2:]), a.text("pad_type").lower()
    pad = a.optional_integers("pad", [0] * (2 * len(sizes)))
    if len(pad) != 2 * len(sizes) or not len(window) == len(strides) == len(sizes):
        raise ValueError(f"pad {pad}, strides {strides}, window {window} for {sizes}")
    if kind == "custom":
        return list(zip(pad[::2], pad[1::2], strict=True))
    if any(pad):
        raise ValueError(f"pad is {pad} although pad_type is {kind!r}")
    if kind == "valid":
        return [(0, 0)] * len(sizes)
    if kind not in {"same", "same_lower"}:
        raise ValueError(f"pad_type {kind!r} is unknown")
    spans = [
        stride * -(-size // stride) - size + extent - stride
        for size, extent, stride in zip(sizes, window, strides, strict=True)
    ]
    return _same_pads(spans, before=kind == "same_lower")


def padded(x: torch.Tensor, pads: Pads, value: float) -> torch.Tensor:
    """x with `value` before and after its spatial axes; a negative size cuts off."""
    if not any(before or after for before, after in pads):
        return x
    return F.pad(x, [size for pair in reversed(pads) for size in pair], value=value)


CONV_OPTIONS: dict[str, Default] = {
    "bias": None,
    "strides": None,
    "pad_type": "valid",
    "pad": None,
    "dilations": None,
    "groups": 1,
}


@operation(
    "conv",
    required="x weight",
    optional=CONV_OPTIONS,
)
def conv(a: Arguments) -> torch.Tensor:
    """iOS15.conv.conv; weight (c_out, c_in / groups, *kernel), bias (c_out)."""
    return _convolved(a, a.tensor("weight"))


def _convolved(a: Arguments, weight: torch.Tensor) -> torch.Tensor:
    x = a.tensor("x")
    ones = [1] * (x.dim() - 2)
    strides, dilations = (a.optional_integers(name, ones) for name in ("strides", "dilations"))
    extents = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    pads = window_pads(a, extents, strides)
    symmetric = [before if before == after else 0 for before, after in pads]
    if any(before != after for before, after in pads):  # torch pads both sides alike
        x, symmetric = padded(x, pads, 0.0), [0] * len(pads)
    bias = a.optional_tensor("bias")
    bias = bias if bias is None else bias.to(x.dtype)
    return CONV[x.dim() - 2](x, weight, bias, strides, symmetric, dilations, a.integer("groups"))


@operation(
    "conv_quantized",
    required="x weight quantization_type quant_scale quant_bias",
    optional={**CONV_OPTIONS, "nbits": 8},
)
def conv_quantized(a: Arguments) -> torch.Tensor:
    """iOS15.conv.conv_quantized: conv with weight * quant_scale + quant_bias.

    Scale and bias are one number or one per output channel. The page names a table (`lut`) but
    has no input for one, so only `linear` is defined.
    """
    if a.text("quantization_type") != "linear":
        raise ValueError(f"quantization_type {a.text('quantization_type')!r} has no table input")
    codes = a.tensor("weight").float()
    per_channel = [-1, *[1] * (codes.dim() - 1)]
    scale, offset = (a.tensor(f"quant_{n}").reshape(per_channel) for n in ("scale", "bias"))
    return _convolved(a, codes * scale + offset)


@operation(
    "conv_transpose",
    required="x weight",
    optional={
        "bias": None,
        "pad": None,
        "output_shape": None,
        "pad_type": "valid",
        "strides": None,
        "dilations": None,
        "groups": 1,
    },
)
def conv_transpose(a: Arguments) -> torch.Tensor:
    """iOS15.conv.conv_transpose; weight (c_in, c_out / groups, *kernel).

    The full result is computed and `pad` is cut off it; where `output_shape` asks for more than
    the full result has, the rest after it is what an empty neighbourhood gives: the bias.
    """
    x, weight = a.tensor("x"), a.tensor("weight")
    ones = [1] * (x.dim() - 2)
    strides, dilations = (a.optional_integers(name, ones) for name in ("strides", "dilations"))
    full = CONV_TRANSPOSE[x.dim() - 2](
        x, weight, None, strides, 0, 0, a.integer("groups"), dilations
    )
    wanted = a.optional_integers("output_shape", [])[2:]
    pads = _cut_pads(a, list(full.shape[2:]), wanted, strides)
    full = padded(full, [(-before, -after) for before, after in pads], 0.0)
    bias = a.optional_tensor("bias")
    return full if bias is None else full + bias.reshape(-1, *ones)


def _cut_pads(a: Arguments, full: list[int], wanted: list[int], strides: list[int]) -> Pads:
    """What to cut off the full result of a transposed convolution, before and after per axis."""
    kind, pad = a.text("pad_type").lower(), a.optional_integers("pad", [0] * (2 * len(full)))
    if kind not in {"valid", "custom", "same"}:
        raise ValueError(f"pad_type {kind!r} is unknown")
    if kind != "custom" and any(pad):
        raise ValueError(f"pad is {pad} although pad_type is {kind!r}")
    if kind == "same":
        sizes = wanted or [n * s for n, s in zip(a.tensor("x").shape[2:], strides, strict=True)]
        spans = [f - n for f, n in zip(full, sizes, strict=True)]  # below 0: the result is longer
        return [(max(0, span) // 2, span - max(0, span) // 2) for span in spans]
    befores, afters = pad[::2], pad[1::2]
    if wanted:
        afters = [f - n - before for f, n, before in zip(full, wanted, befores, strict=True)]
    return list(zip(befores, afters, strict=True))

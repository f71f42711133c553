"""MIL convolution and pooling: iOS15.conv, iOS15.pool.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
Data is (n, channels, *spatial) with one to three spatial axes. `pad` lists before and after per
spatial axis. `same` puts the odd element after, `same_lower` before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody reads at once

from exporters.mil.optable import Arguments, operation

Pads = list[tuple[int, int]]
CONV: dict[int, Callable[..., torch.Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CONV_TRANSPOSE: dict[int, Callable[..., torch.Tensor]] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}
MAX_POOL: dict[int, Callable[..., torch.Tensor]] = {
    1: F.max_pool1d,
    2: F.max_pool2d,
    3: F.max_pool3d,
}
AVG_POOL: dict[int, Callable[..., Any]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def _same_pads(spans: list[int], steps: list[int], *, before: bool) -> Pads:
    """Split `spans`, the total padding per axis, around the data; never less than none."""
    halves = [max(0, span) // 2 for span in spans]
    rests = [max(0, span) - half for span, half in zip(spans, halves, strict=True)]
    assert len(spans) == len(steps)
    return list(zip(rests, halves, strict=True) if before else zip(halves, rests, strict=True))


def _window_pads(a: Arguments, window: list[int], strides: list[int]) -> Pads:
    """Padding around x for windows of extent `window` (dilation included)."""
    sizes, kind = list(a.tensor("x").shape[2:]), a.text("pad_type")
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
    return _same_pads(spans, strides, before=kind == "same_lower")


def _padded(x: torch.Tensor, pads: Pads, value: float) -> torch.Tensor:
    if not any(before or after for before, after in pads):
        return x
    return F.pad(x, [size for pair in reversed(pads) for size in pair], value=value)


@operation(
    "conv",
    required="x weight",
    optional={
        "bias": None,
        "strides": None,
        "pad_type": "valid",
        "pad": None,
        "dilations": None,
        "groups": 1,
    },
)
def conv(a: Arguments) -> torch.Tensor:
    """iOS15.conv.conv; weight (c_out, c_in / groups, *kernel), bias (c_out)."""
    x, weight = a.tensor("x"), a.tensor("weight")
    ones = [1] * (x.dim() - 2)
    strides, dilations = (a.optional_integers(name, ones) for name in ("strides", "dilations"))
    extents = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    pads = _window_pads(a, extents, strides)
    symmetric = [before if before == after else 0 for before, after in pads]
    if any(before != after for before, after in pads):  # torch pads both sides alike
        x, symmetric = _padded(x, pads, 0.0), [0] * len(pads)
    bias = a.optional_tensor("bias")
    return CONV[x.dim() - 2](x, weight, bias, strides, symmetric, dilations, a.integer("groups"))


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
    full = _padded(full, [(-before, -after) for before, after in pads], 0.0)
    bias = a.optional_tensor("bias")
    return full if bias is None else full + bias.reshape(-1, *ones)


def _cut_pads(a: Arguments, full: list[int], wanted: list[int], strides: list[int]) -> Pads:
    """What to cut off the full result of a transposed convolution, before and after per axis."""
    kind, pad = a.text("pad_type"), a.optional_integers("pad", [0] * (2 * len(full)))
    if kind not in {"valid", "custom", "same"}:
        raise ValueError(f"pad_type {kind!r} is unknown")
    if kind != "custom" and any(pad):
        raise ValueError(f"pad is {pad} although pad_type is {kind!r}")
    if kind == "same":
        sizes = wanted or [n * s for n, s in zip(a.tensor("x").shape[2:], strides, strict=True)]
        return [((f - n) // 2, (f - n) - (f - n) // 2) for f, n in zip(full, sizes, strict=True)]
    befores, afters = pad[::2], pad[1::2]
    if wanted:
        afters = [f - n - before for f, n, before in zip(full, wanted, befores, strict=True)]
    return list(zip(befores, afters, strict=True))


POOLING = "x kernel_sizes pad_type"


def _pool_geometry(a: Arguments) -> tuple[list[int], list[int], Pads, Pads]:
    """Kernel, strides, explicit padding, and the extra elements ceil_mode adds at the end."""
    kernel = a.integers("kernel_sizes")
    strides = a.optional_integers("strides", [1] * len(kernel))
    pads = _window_pads(a, kernel, strides)
    if not a.flag("ceil_mode"):
        return kernel, strides, pads, [(0, 0)] * len(pads)
    extra = []
    for size, k, s, (before, after) in zip(
        a.tensor("x").shape[2:], kernel, strides, pads, strict=True
    ):
        if before != after:
            raise ValueError(f"ceil_mode needs symmetric padding, not {before} and {after}")
        count = -(-(size + before + after - k) // s) + 1
        if (count - 1) * s >= size + before:  # a window must start on data or padding before it
            count -= 1
        extra.append((0, max(0, (count - 1) * s + k - size - before - after)))
    return kernel, strides, pads, extra


@operation(
    "max_pool", required=POOLING, optional={"strides": None, "pad": None, "ceil_mode": False}
)
def max_pool(a: Arguments) -> torch.Tensor:
    """iOS15.pool.max_pool; padding never wins."""
    kernel, strides, pads, extra = _pool_geometry(a)
    x = _padded(_padded(a.tensor("x"), pads, -torch.inf), extra, -torch.inf)
    return MAX_POOL[len(kernel)](x, kernel, strides)


@operation(
    "avg_pool",
    required=POOLING,
    optional={
        "strides": None,
        "pad": None,
        "ceil_mode": False,
        "exclude_padding_from_average": False,
    },
)
def avg_pool(a: Arguments) -> torch.Tensor:
    """iOS15.pool.avg_pool; what ceil_mode adds at the end never counts, padding may."""
    x = a.tensor("x")
    kernel, strides, pads, extra = _pool_geometry(a)
    pool = AVG_POOL[len(kernel)]
    total: torch.Tensor = pool(_padded(_padded(x, pads, 0.0), extra, 0.0), kernel, strides)
    inside = 0.0 if a.flag("exclude_padding_from_average") else 1.0
    if not any(after for _, after in extra) and (inside or not any(map(any, pads))):
        return total
    counted = _padded(_padded(torch.ones_like(x[:1, :1]), pads, inside), extra, 0.0)
    share: torch.Tensor = pool(counted, kernel, strides)
    return total / share

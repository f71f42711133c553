"""MIL pooling: iOS15.pool.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
Data is (n, channels, *spatial) with one to three spatial axes; windows and padding are those of
`ops_conv`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody reads at once

from exporters.mil.ops_conv import Pads, padded, window_pads
from exporters.mil.optable import Arguments, Default, operation

MAX_POOL: dict[int, Callable[..., torch.Tensor]] = {
    1: F.max_pool1d,
    2: F.max_pool2d,
    3: F.max_pool3d,
}
AVG_POOL: dict[int, Callable[..., Any]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
REQUIRED = "x kernel_sizes pad_type"
OPTIONAL: dict[str, Default] = {"strides": None, "pad": None, "ceil_mode": False}


def _geometry(a: Arguments) -> tuple[list[int], list[int], Pads, Pads]:
    """Kernel, strides, explicit padding, and the extra elements ceil_mode adds at the end."""
    kernel = a.integers("kernel_sizes")
    strides = a.optional_integers("strides", [1] * len(kernel))
    pads = window_pads(a, kernel, strides)
    if not a.flag("ceil_mode"):
        return kernel, strides, pads, [(0, 0)] * len(pads)
    extra = []
    for size, k, s, (before, after) in zip(
        a.tensor("x").shape[2:], kernel, strides, pads, strict=True
    ):
        if before != after:
            raise ValueError(f"ceil_mode needs symmetric padding, not {before} and {after}")
        count = -(-(size + before + after - k) // s) + 1
        if before and (count - 1) * s >= size + before:  # with padding, no window is all outside
            count -= 1
        extra.append((0, max(0, (count - 1) * s + k - size - before - after)))
    return kernel, strides, pads, extra


@operation("max_pool", required=REQUIRED, optional=OPTIONAL)
def max_pool(a: Arguments) -> torch.Tensor:
    """iOS15.pool.max_pool; padding never wins."""
    kernel, strides, pads, extra = _geometry(a)
    x = padded(padded(a.tensor("x"), pads, -torch.inf), extra, -torch.inf)
    return MAX_POOL[len(kernel)](x, kernel, strides)


@operation(
    "avg_pool", required=REQUIRED, optional={**OPTIONAL, "exclude_padding_from_average": False}
)
def avg_pool(a: Arguments) -> torch.Tensor:
    """iOS15.pool.avg_pool; what ceil_mode adds at the end never counts, padding may."""
    x = a.tensor("x")
    kernel, strides, pads, extra = _geometry(a)
    pool = AVG_POOL[len(kernel)]
    total: torch.Tensor = pool(padded(padded(x, pads, 0.0), extra, 0.0), kernel, strides)
    inside = 0.0 if a.flag("exclude_padding_from_average") else 1.0
    if not any(after for _, after in extra) and (inside or not any(map(any, pads))):
        return total
    counted = padded(padded(torch.ones_like(x[:1, :1]), pads, inside), extra, 0.0)
    share: torch.Tensor = pool(counted, kernel, strides)
    return total / share


@operation("l2_pool", required=REQUIRED, optional=OPTIONAL)
def l2_pool(a: Arguments) -> torch.Tensor:
    """iOS15.pool.l2_pool: the root of the sum (not the mean) of the squares in each window."""
    kernel, strides, pads, extra = _geometry(a)
    squares = padded(padded(a.tensor("x").square(), pads, 0.0), extra, 0.0)
    mean: torch.Tensor = AVG_POOL[len(kernel)](squares, kernel, strides)
    return (mean * math.prod(kernel)).sqrt()

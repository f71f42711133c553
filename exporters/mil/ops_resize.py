"""MIL image resizing: iOS15/16.image_resizing, iOS17.image_resizing.resize.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
Every sampling mode is a list of source positions per axis; axes are interpolated one by one.
"""

from __future__ import annotations

import numpy as np
import torch

from exporters.mil.optable import Arguments, operation

__all__ = ["grid"]

IMAGE_AXES = (-2, -1)


def grid(mode: str, last: float, target: int) -> torch.Tensor:
    """Where each of `target` samples lies on [0, last]; float64 [target].

    The formulas are those under iOS15.image_resizing.resize_bilinear; `last` is its Xin - 1.
    """
    steps = torch.arange(target, dtype=torch.float64)
    if mode == "STRICT_ALIGN_CORNERS" or (mode == "ALIGN_CORNERS" and target > 1):
        at = steps * (last / max(1, target - 1))
    elif mode == "ALIGN_CORNERS":
        at = steps + last / 2
    elif mode == "DEFAULT":
        at = steps * ((last + 1) / target)
    elif mode == "OFFSET_CORNERS":
        at = (steps + 0.5) * (max(1.0, last) / target)
    elif mode == "UNALIGN_CORNERS":
        at = (steps + 0.5) * ((last + 1) / target) - 0.5
    else:
        raise ValueError(f"sampling_mode {mode!r} is unknown")
    return at.clamp(0, last)


def _linear(x: torch.Tensor, axis: int, mode: str, target: int) -> torch.Tensor:
    """x with `target` samples along `axis`, interpolated between neighbours."""
    source = x.shape[axis]
    at = grid(mode, source - 1, target)
    if not x.is_floating_point():  # the page leaves the rounding of integers open
        return _linear(x.double(), axis, mode, target).to(x.dtype)
    low = at.floor().long()
    high = (low + 1).clamp(max=source - 1)
    share = (at - low).to(x.dtype).reshape([-1, *[1] * (-axis - 1)])
    return torch.lerp(x.index_select(axis, low), x.index_select(axis, high), share)


@operation(
    "resize_bilinear",
    required="x",
    optional={"target_size_height": 1, "target_size_width": 1, "sampling_mode": "DEFAULT"},
)
def resize_bilinear(a: Arguments) -> torch.Tensor:
    """iOS15.image_resizing.resize_bilinear of the last two axes."""
    x, mode = a.tensor("x"), a.text("sampling_mode")
    x = _linear(x, -2, mode, a.integer("target_size_height"))
    return _linear(x, -1, mode, a.integer("target_size_width"))


@operation(
    "upsample_bilinear",
    required="x",
    optional={
        "scale_factor_height": 1,
        "scale_factor_width": 1,
        "align_corners": True,
        "half_pixel_centers": None,
    },
)
def upsample_bilinear(a: Arguments) -> torch.Tensor:
    """iOS16.image_resizing.upsample_bilinear; half_pixel_centers defaults to not align_corners."""
    x, align = a.tensor("x"), a.flag("align_corners")
    half = (
        not align
        if a.optional_tensor("half_pixel_centers") is None
        else a.flag("half_pixel_centers")
    )
    if align and half:
        raise ValueError("align_corners and half_pixel_centers are both true")
    mode = "STRICT_ALIGN_CORNERS" if align else "UNALIGN_CORNERS" if half else "DEFAULT"
    for axis, target in zip(IMAGE_AXES, _scaled_sizes(a), strict=True):
        x = _linear(x, axis, mode, target)
    return x


@operation(
    "upsample_nearest_neighbor",
    required="x",
    optional={"scale_factor_height": 1, "scale_factor_width": 1},
)
def upsample_nearest_neighbor(a: Arguments) -> torch.Tensor:
    """iOS15.image_resizing.upsample_nearest_neighbor: sample i shows source floor(i / scale)."""
    return _nearest_below(a.tensor("x"), _scaled_sizes(a))


@operation("resize_nearest_neighbor", required="x target_size_height target_size_width")
def resize_nearest_neighbor(a: Arguments) -> torch.Tensor:
    """iOS15.image_resizing.resize_nearest_neighbor: upsample_nearest_neighbor to a size."""
    sizes = [a.integer("target_size_height"), a.integer("target_size_width")]
    return _nearest_below(a.tensor("x"), sizes)


def _nearest_below(x: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    for axis, target in zip(IMAGE_AXES, sizes, strict=True):
        x = x.index_select(axis, torch.arange(target) * x.shape[axis] // target)
    return x


def _scaled_sizes(a: Arguments) -> list[int]:
    scales = (a.number("scale_factor_height"), a.number("scale_factor_width"))
    sizes = a.tensor("x").shape[-2:]
    # The factors are float32 and so is the product: 10 * 0.7 is 7, not 6.99999988.
    return [
        int(np.floor(np.float32(scale) * np.float32(size)))
        for size, scale in zip(sizes, scales, strict=True)
    ]


@operation(
    "resize",
    required="x shape resized_dims",
    optional={"interpolation_mode": "LINEAR", "sampling_mode": "DEFAULT"},
)
def resize(a: Arguments) -> torch.Tensor:
    """iOS17.image_resizing.resize of the last `resized_dims` axes; size 0 keeps the axis.

    NEAREST_NEIGHBOR takes the nearest position, a half upwards; the page leaves that open.
    """
    x, mode, kind = a.tensor("x"), a.text("sampling_mode"), a.text("interpolation_mode")
    count, shape = a.integer("resized_dims"), a.integers("shape")
    if kind not in {"LINEAR", "NEAREST_NEIGHBOR"} or count > len(shape):
        raise ValueError(f"interpolation_mode {kind!r}, resized_dims {count} of shape {shape}")
    for axis in range(-count, 0):
        source = x.shape[axis]
        target = shape[axis] or source
        if kind == "LINEAR":
            x = _linear(x, axis, mode, target)
        else:
            nearest = (grid(mode, source - 1, target) + 0.5).floor().long()
            x = x.index_select(axis, nearest)
    return x

"""MIL rearrangement of blocks: pixel_shuffle and its relatives, iOS15/16.tensor_transformation.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
In pixel_shuffle the offsets inside a block are the fastest part of the channel index, in
depth_to_space and space_to_batch (as in TensorFlow) the slowest.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody reads at once

from exporters.mil.optable import Arguments, operation


@operation("pixel_shuffle", required="x upscale_factor")
def pixel_shuffle(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_transformation.pixel_shuffle: (n, c * f * f, h, w) to (n, c, h * f, w * f)."""
    return F.pixel_shuffle(a.tensor("x"), a.integer("upscale_factor"))


@operation("pixel_unshuffle", required="x downscale_factor")
def pixel_unshuffle(a: Arguments) -> torch.Tensor:
    """iOS16.tensor_transformation.pixel_unshuffle: the inverse of pixel_shuffle."""
    return F.pixel_unshuffle(a.tensor("x"), a.integer("downscale_factor"))


@operation("depth_to_space", required="x block_size")
def depth_to_space(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_transformation.depth_to_space: (n, b * b * c, h, w) to (n, c, h * b, w * b)."""
    x, b = a.tensor("x"), a.integer("block_size")
    n, channels, h, w = x.shape
    parts = x.reshape(n, b, b, channels // (b * b), h, w)
    return parts.permute(0, 3, 4, 1, 5, 2).reshape(n, -1, h * b, w * b)


@operation("space_to_depth", required="x block_size")
def space_to_depth(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_transformation.space_to_depth: the inverse of depth_to_space."""
    x, b = a.tensor("x"), a.integer("block_size")
    n, channels, h, w = x.shape
    parts = x.reshape(n, channels, h // b, b, w // b, b)
    return parts.permute(0, 3, 5, 1, 2, 4).reshape(n, -1, h // b, w // b)


@operation("space_to_batch", required="x block_shape paddings")
def space_to_batch(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_transformation.space_to_batch; paddings (2, 2) before and after h, w."""
    (b_h, b_w), (top, bottom, left, right) = a.integers("block_shape"), a.integers("paddings")
    x = F.pad(a.tensor("x"), [left, right, top, bottom])
    n, channels, h, w = x.shape
    parts = x.reshape(n, channels, h // b_h, b_h, w // b_w, b_w)
    return parts.permute(3, 5, 0, 1, 2, 4).reshape(-1, channels, h // b_h, w // b_w)


@operation("batch_to_space", required="x block_shape crops")
def batch_to_space(a: Arguments) -> torch.Tensor:
    """iOS15.tensor_transformation.batch_to_space; crops (2, 2) are cut off h, w afterwards."""
    (b_h, b_w), (top, bottom, left, right) = a.integers("block_shape"), a.integers("crops")
    x = a.tensor("x")
    _, channels, h, w = x.shape
    parts = x.reshape(b_h, b_w, -1, channels, h, w).permute(2, 3, 4, 0, 5, 1)
    whole = parts.reshape(-1, channels, h * b_h, w * b_w)
    return whole[:, :, top : h * b_h - bottom, left : w * b_w - right]

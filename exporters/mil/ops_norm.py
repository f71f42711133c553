"""MIL normalisation: iOS15.normalization.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody reads at once

from exporters.mil.optable import Arguments, operation

L2_NORM_AXES = (-3, -2, -1)


@operation(
    "batch_norm",
    required="x mean variance",
    optional={"gamma": None, "beta": None, "epsilon": 1e-5},
)
def batch_norm(a: Arguments) -> torch.Tensor:
    """iOS15.normalization.batch_norm: gamma * (x - mean) / sqrt(variance + epsilon) + beta."""
    return F.batch_norm(
        a.tensor("x"),
        a.tensor("mean"),
        a.tensor("variance"),
        a.optional_tensor("gamma"),
        a.optional_tensor("beta"),
        eps=a.number("epsilon"),
    )


@operation("instance_norm", required="x", optional={"gamma": None, "beta": None, "epsilon": 1e-5})
def instance_norm(a: Arguments) -> torch.Tensor:
    """iOS15.normalization.instance_norm over the spatial axes of (n, channels, *spatial)."""
    x = a.tensor("x")
    axes, per_channel = list(range(2, x.dim())), [-1, *[1] * (x.dim() - 2)]
    return _normalized(a, x, axes, per_channel)


@operation(
    "layer_norm",
    required="x",
    optional={"axes": None, "gamma": None, "beta": None, "epsilon": 1e-5},
)
def layer_norm(a: Arguments) -> torch.Tensor:
    """iOS15.normalization.layer_norm over `axes` (all of them by default).

    gamma and beta have the sizes of x along the axes, in the order of x.
    """
    x = a.tensor("x")
    axes = sorted(axis % x.dim() for axis in a.optional_integers("axes", list(range(x.dim()))))
    sizes = [x.shape[axis] if axis in axes else 1 for axis in range(x.dim())]
    return _normalized(a, x, axes, sizes)


def _normalized(a: Arguments, x: torch.Tensor, axes: list[int], sizes: list[int]) -> torch.Tensor:
    """gamma * (x - mean) / sqrt(variance + epsilon) + beta; gamma, beta reshaped to `sizes`."""
    centred = x - x.mean(axes, keepdim=True)
    y = centred * torch.rsqrt(centred.square().mean(axes, keepdim=True) + a.number("epsilon"))
    gamma, beta = a.optional_tensor("gamma"), a.optional_tensor("beta")
    if gamma is not None:
        y = y * gamma.reshape(sizes)
    return y if beta is None else y + beta.reshape(sizes)


@operation("l2_norm", required="x", optional={"epsilon": 1e-6})
def l2_norm(a: Arguments) -> torch.Tensor:
    """iOS15.normalization.l2_norm: x / sqrt(sum of squares over the last three axes + epsilon)."""
    x = a.tensor("x")
    return x * torch.rsqrt(x.square().sum(L2_NORM_AXES, keepdim=True) + a.number("epsilon"))


@operation(
    "local_response_norm", required="x size", optional={"alpha": 1e-4, "beta": 0.75, "k": 1.0}
)
def local_response_norm(a: Arguments) -> torch.Tensor:
    """iOS15.normalization.local_response_norm: x / (k + alpha / size * sum of squares) ^ beta.

    The sum goes over `size` channels around each; of an even number one more lies before it.
    """
    x, size = a.tensor("x"), a.integer("size")
    lead = torch.zeros_like(x[:, :1]).repeat_interleave(size // 2, 1)
    tail = torch.zeros_like(x[:, :1]).repeat_interleave((size - 1) // 2, 1)
    near = torch.cat([lead, x.square(), tail], 1).unfold(1, size, 1).sum(-1)
    return x / (a.number("k") + a.number("alpha") / size * near) ** a.number("beta")

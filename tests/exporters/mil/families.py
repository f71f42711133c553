"""Operators to convert, by family: one net per family returns one output per operator.

Every function takes x [1,4,9,11]. Odd sizes, so that rounding of sizes and corners matters.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody reads at once
from torch import Tensor, nn

Function = Callable[[Tensor], Tensor] | nn.Module
INPUT = torch.randn(1, 4, 9, 11, generator=torch.Generator().manual_seed(1))
OTHER = torch.randn(1, 4, 9, 11, generator=torch.Generator().manual_seed(2))


class Family(nn.Module):
    """Runs every member on the same input."""

    def __init__(self, members: dict[str, Function]) -> None:
        super().__init__()
        self.members = members
        self.layers = nn.ModuleList(m for m in members.values() if isinstance(m, nn.Module))
        randomise(self)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(member(x) for member in self.members.values())


def randomise(net: nn.Module) -> nn.Module:
    """Parameters and running statistics that hide nothing: no zero bias, no unit scale."""
    generator = torch.Generator().manual_seed(3)
    for module in net.modules():
        for name, tensor in [
            *module.named_parameters(recurse=False),
            *module.named_buffers(recurse=False),
        ]:
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            if "var" in name:
                tensor.data = 0.5 + noise.abs()
            elif tensor.dim() > 1:
                tensor.data = noise * (2 / tensor[0].numel()) ** 0.5
            else:
                tensor.data = 0.7 + 0.4 * noise
    return net


class Lookup(nn.Module):
    """Rows of a table chosen by the data."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 5)

    def forward(self, x: Tensor) -> Tensor:
        rows: Tensor = self.table((x[0, 0] * 3).long().clamp(0, 9))
        return rows


Torch = Callable[..., Tensor]


def _small(function: Torch) -> Function:
    """Every function here is defined on 0.1 to 0.9."""
    return lambda x: function((x.abs() * 0.2 + 0.1).clamp(max=0.9))


def _wide(function: Torch) -> Function:
    return lambda x: function(x * 3.3)


def _positive(function: Torch) -> Function:
    return lambda x: function(x.abs() + 0.5, OTHER.abs() + 0.3)


def _choosing(function: Torch) -> Function:
    return lambda x: torch.where(function(x.round(), OTHER.round()), x, x * 2)


# fmt: off
SMALL: list[Torch] = [
    torch.abs, torch.exp, torch.sqrt, torch.rsqrt, torch.tanh, torch.erf, torch.sin, torch.cos,
    torch.tan, torch.log, torch.square, torch.neg, torch.sigmoid, torch.asin, torch.acos,
    torch.atan, torch.sinh, torch.cosh, torch.exp2, torch.atanh, torch.log1p, torch.expm1,
]
WIDE: list[Torch] = [torch.floor, torch.ceil, torch.round, torch.sign]
POSITIVE: list[Torch] = [
    torch.add, torch.sub, torch.mul, torch.div, torch.maximum, torch.minimum, torch.pow,
    torch.remainder, torch.floor_divide,
]
CHOOSING: list[Torch] = [
    torch.gt, torch.lt, torch.ge, torch.le, torch.eq, torch.ne, torch.logical_and,
    torch.logical_or, torch.logical_xor,
]
# fmt: on
UNARY: dict[str, Function] = {f.__name__: _small(f) for f in SMALL}
UNARY |= {f.__name__: _wide(f) for f in WIDE}
BINARY: dict[str, Function] = {f.__name__: _positive(f) for f in POSITIVE}
BINARY |= {f.__name__: _choosing(f) for f in CHOOSING}
BINARY["logical_not"] = lambda x: torch.where(torch.logical_not(x > 0), x, 2 * x)

ACTIVATION: dict[str, Function] = {
    "relu": nn.ReLU(),
    "relu6": nn.Sequential(nn.LeakyReLU(1.0001), nn.ReLU6()),
    "leaky_relu": nn.LeakyReLU(0.1),
    "prelu": nn.PReLU(4),
    "elu": nn.ELU(0.8),
    "silu": nn.SiLU(),
    "hard_swish": nn.Hardswish(),
    "hard_sigmoid": nn.Hardsigmoid(),
    "gelu": nn.GELU(),
    "softplus": nn.Softplus(),
    "softsign": nn.Softsign(),
    "mish": nn.Mish(),
    "selu": nn.SELU(),
    "threshold": nn.Threshold(0.1, 0.0),
    "softmax": nn.Softmax(1),
    "log_softmax": nn.LogSoftmax(1),
    "glu": nn.GLU(1),
    "clamp": lambda x: x.clamp(-0.5, 0.7) + x.clamp(min=0.1),
    "masked_fill": lambda x: x.masked_fill(x > 0.5, -1.0),
}

NORM: dict[str, Function] = {
    "batch_norm": nn.BatchNorm2d(4),
    "instance_norm": nn.InstanceNorm2d(4, affine=True),
    "layer_norm": nn.LayerNorm(11),
    "layer_norm_two_axes": nn.LayerNorm([9, 11]),
    "group_norm": nn.GroupNorm(2, 4),
    "local_response_norm": nn.LocalResponseNorm(3),
    "normalize": lambda x: F.normalize(x, dim=1),
    "norm": lambda x: x.norm(dim=1),
    "norm_l1": lambda x: x.norm(p=1, dim=1),
    "var": lambda x: x.var(1),
    "std": lambda x: x.std((2, 3), unbiased=False),
}

CONV: dict[str, Function] = {
    "conv": nn.Conv2d(4, 6, 3),
    "conv_strided": nn.Conv2d(4, 6, 3, 2, 1),
    "conv_dilated_grouped": nn.Conv2d(4, 8, 3, 1, 2, 2, groups=2),
    "conv_depthwise": nn.Conv2d(4, 4, 5, 2, 2, groups=4, bias=False),
    "conv_same_even": nn.Conv2d(4, 6, 4, padding="same"),
    "conv_asymmetric": nn.Sequential(nn.ZeroPad2d((0, 1, 1, 2)), nn.Conv2d(4, 3, 3, 2)),
    "conv_batch_norm": nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU()),
    "conv1d": nn.Sequential(nn.Flatten(2), nn.Conv1d(4, 5, 3, padding=1)),
    "conv3d": nn.Sequential(nn.Unflatten(1, (1, 4)), nn.Conv3d(1, 2, 3, padding=1)),
    "transposed": nn.ConvTranspose2d(4, 3, 2, 2),
    "transposed_grouped": nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2),
    "transposed_extended": nn.ConvTranspose2d(4, 3, 4, 3, 1, 2),
    "transposed_dilated": nn.ConvTranspose2d(4, 3, 3, 2, 1, dilation=2),
    "max_pool": nn.MaxPool2d(2),
    "max_pool_padded": nn.MaxPool2d(3, 2, 1),
    "max_pool_ceil": nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    "max_pool_ceil_even": nn.MaxPool2d(2, 2, ceil_mode=True),
    "avg_pool": nn.AvgPool2d(3, 2, 1),
    "avg_pool_exclude": nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "avg_pool_ceil": nn.AvgPool2d(2, 2, ceil_mode=True),
    "avg_pool_ceil_padded": nn.AvgPool2d(3, 2, 1, ceil_mode=True),
    "avg_pool_ceil_exclude": nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
    "adaptive_avg_pool": nn.AdaptiveAvgPool2d(1),
    "adaptive_avg_pool_3": nn.AdaptiveAvgPool2d(3),
    "adaptive_max_pool": nn.AdaptiveMaxPool2d(1),
    "linear": nn.Linear(11, 7),
    "linear_no_bias": nn.Linear(11, 7, bias=False),
}

RESIZE: dict[str, Function] = {
    "bilinear": nn.Upsample(scale_factor=2, mode="bilinear"),
    "bilinear_aligned": nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
    "nearest": nn.Upsample(scale_factor=2),
    "nearest_fraction": nn.Upsample(scale_factor=1.5),
    "bilinear_to_size": lambda x: F.interpolate(x, (20, 23), mode="bilinear"),
    "bilinear_aligned_down": lambda x: F.interpolate(
        x, (5, 23), mode="bilinear", align_corners=True
    ),
    "nearest_to_size": lambda x: F.interpolate(x, (13, 7)),
    "pixel_shuffle": nn.PixelShuffle(2),
    "pixel_unshuffle": nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.PixelUnshuffle(2)),
    "pad_reflect": nn.ReflectionPad2d((1, 2, 3, 1)),
    "pad_replicate": nn.ReplicationPad2d((1, 2, 3, 1)),
    "pad_constant": nn.ConstantPad2d((1, 2, 0, 1), 0.7),
}

SHAPE: dict[str, Function] = {
    "concat": lambda x: torch.cat([x, x * 2, x.relu()], 1),
    "stack": lambda x: torch.stack([x, x * 2], 2),
    "split": lambda x: torch.cat([t * i for i, t in enumerate(x.split([1, 3], 1))], 1),
    "chunk": lambda x: x.chunk(2, 1)[1] * x.chunk(2, 1)[0],
    "unbind": lambda x: x.unbind(1)[2] + x.unbind(1)[0],
    "slice": lambda x: x[:, 1:3, ::2, -4:] * 1.5,
    "select_last": lambda x: x[:, -1, :, :-3] * 1.5,
    "flip": lambda x: x.flip(2, 3),
    "roll": lambda x: torch.roll(x, (2, -3), (2, 3)),
    "index": lambda x: x[:, torch.tensor([3, 0, 1, 1])],
    "index_select": lambda x: torch.index_select(x, 2, torch.tensor([8, 0, 3])),
    "gather": lambda x: torch.gather(x, 1, torch.tensor([[[[2]]]]).expand(1, 1, 9, 11)),
    "permute": lambda x: x.permute(0, 2, 3, 1).reshape(1, 99, 4),
    "unsqueeze": lambda x: x.unsqueeze(1).squeeze(0) * x,
    "expand": lambda x: x[:, :1].expand(1, 4, 9, 11) + 0.5,
    "repeat": lambda x: x.repeat(1, 2, 1, 3),
    "ones_like": lambda x: x + torch.ones_like(x) * torch.arange(11),
    "full": lambda x: torch.cat([x, torch.full((1, 1, 9, 11), 0.3)], 1),
    "triangles": lambda x: x.tril() + 2 * x.triu(1),
    "channel_shuffle": lambda x: x.view(1, 2, 2, 9, 11).transpose(1, 2).reshape(1, 4, 9, 11),
    "embedding": Lookup(),
    "topk": lambda x: x.topk(3, dim=1)[0],
    "sort": lambda x: x.sort(1)[0],
    "int_cast": lambda x: (x * 3).int().float(),
}

REDUCE: dict[str, Function] = {
    "sum": lambda x: x.sum((2, 3)),
    "mean": lambda x: x.mean((2, 3)),
    "amax": lambda x: x.amax((2, 3)),
    "amin": lambda x: x.amin(1, keepdim=True),
    "sum_keep": lambda x: x.sum(1, keepdim=True),
    "mean_of_all": lambda x: x.mean(),
    "argmax": lambda x: x.argmax(1).float(),
    "argmin": lambda x: x.argmin(1, keepdim=True).float(),
    "logsumexp": lambda x: x.logsumexp(1),
    "cumsum": lambda x: x.cumsum(2),
    "matmul": lambda x: x @ x.transpose(-1, -2),
    "bmm": lambda x: torch.bmm(x[0], x[0].transpose(1, 2)),
    "einsum": lambda x: torch.einsum("bchw,bcwk->bchk", x, x.transpose(2, 3)),
    "attention": lambda x: F.scaled_dot_product_attention(x, x * 2, x + 1),
    "attention_masked": lambda x: F.scaled_dot_product_attention(
        x, x * 2, x + 1, attn_mask=torch.ones(9, 9, dtype=torch.bool).tril()
    ),
}

FAMILIES: dict[str, dict[str, Function]] = {
    "unary": UNARY,
    "binary": BINARY,
    "activation": ACTIVATION,
    "norm": NORM,
    "conv": CONV,
    "resize": RESIZE,
    "shape": SHAPE,
    "reduce": REDUCE,
}

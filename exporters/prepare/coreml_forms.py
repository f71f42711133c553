"""What coremltools 9 writes wrong without a word, or cannot write, in forms that it writes right.

Each form is the operator's definition in the PyTorch documentation, written with operators
that were measured to arrive (tests/exporters/mil/test_exact_forms.py converts the forms).
`FORMS` maps an overload to the condition under which coremltools must not see it, and the form; a
form takes the arguments of the operator and returns what it returns.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody reads at once
from torch import Tensor

__all__ = ["FORMS", "Form"]

aten = torch.ops.aten
EXACT_SOFTPLUS = 15.0  # beyond it log(1 + exp(x)) is x in float32, whatever the threshold
Given = dict[str, Any]  # an operator's arguments by their names in its schema


@dataclass(frozen=True)
class Form:
    """`write(**arguments)` replaces a call whose arguments satisfy `wrong`; why, for the reader."""

    wrong: Callable[[Given], bool]
    write: Callable[..., Any]


def _always(given: Given) -> bool:
    return True


def _gelu(self: Tensor, approximate: str) -> Tensor:
    """https://pytorch.org/docs/stable/generated/torch.nn.GELU.html, approximate='tanh'."""
    inner = math.sqrt(2 / math.pi) * (self + 0.044715 * (self * self * self))
    return 0.5 * self * (1 + torch.tanh(inner))


def _reciprocal(self: Tensor) -> Tensor:
    return torch.full_like(self, 1.0) / self


def _log_softmax(self: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    return self - torch.logsumexp(self, dim, keepdim=True)


def _rms_norm(
    input: Tensor,  # noqa: A002  # the schema's name
    normalized_shape: list[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """Divided by max(1, |x|) before squaring, which is exact and cannot overflow in float16."""
    axes = list(range(-len(normalized_shape), 0))
    eps = torch.finfo(input.dtype).eps if eps is None else eps
    scale = torch.clamp(input.abs().amax(axes, keepdim=True), min=1.0)
    scaled = input / scale
    added = torch.full_like(scale, eps) / (scale * scale)  # a number / a tensor is a reciprocal
    normed = scaled / torch.sqrt((scaled * scaled).mean(axes, keepdim=True) + added)
    return normed if weight is None else normed * weight


def _instance_norm(given: Given) -> bool:
    return not given["use_input_stats"]


def _running_norm(
    input: Tensor,  # noqa: A002  # the schema's name
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    eps: float,
    **_: Any,
) -> Tensor:
    return F.batch_norm(input, running_mean, running_var, weight, bias, eps=eps)


def _spread(
    self: Tensor, dim: list[int] | None, correction: float, keepdim: bool
) -> tuple[Tensor, Tensor]:
    axes = list(range(self.ndim)) if not dim else [axis % self.ndim for axis in dim]
    count = math.prod(self.shape[axis] for axis in axes)
    mean = self.mean(axes, keepdim=True)
    away = self - mean
    variance = (away * away).sum(axes, keepdim=keepdim) / max(count - correction, 0)
    return variance, mean if keepdim else self.mean(axes)


def _correction(correction: float | None = None, unbiased: bool = True) -> float:
    return float(unbiased) if correction is None else correction


def _moments(self: Tensor, dim: Any = None, keepdim: bool = False, **kind: Any) -> Any:
    return _spread(self, dim, _correction(**kind), keepdim)


def _var(self: Tensor, dim: Any = None, keepdim: bool = False, **kind: Any) -> Tensor:
    return _spread(self, dim, _correction(**kind), keepdim)[0]


def _std(self: Tensor, dim: Any = None, keepdim: bool = False, **kind: Any) -> Tensor:
    return torch.sqrt(_spread(self, dim, _correction(**kind), keepdim)[0])


def _elu(self: Tensor, alpha: float, scale: float, input_scale: float) -> Tensor:
    return torch.where(self > 0, self * scale, (torch.exp(self * input_scale) - 1) * alpha * scale)


def _celu(self: Tensor, alpha: float = 1.0) -> Tensor:
    return torch.where(self > 0, self, (torch.exp(self / alpha) - 1) * alpha)


def _softplus(self: Tensor, beta: float, threshold: float) -> Tensor:
    return torch.where(self * beta > threshold, self, F.softplus(self, beta, 2 * EXACT_SOFTPLUS))


def _hardshrink(self: Tensor, lambd: float = 0.5) -> Tensor:
    return self * (self.abs() > lambd).to(self.dtype)


def _trunc(self: Tensor) -> Tensor:
    return torch.sign(self) * torch.floor(self.abs())


def _fmod(self: Tensor, other: Any) -> Tensor:
    quotient = self / other
    whole = torch.sign(quotient) * torch.floor(quotient.abs())
    rest: Tensor = self - whole * other
    return rest


def _round(self: Tensor, decimals: int) -> Tensor:
    power = 10.0**decimals
    return torch.round(self * power) / power


def _gather(self: Tensor, dim: int, index: Tensor, sparse_grad: bool = False) -> Tensor:
    for axis, size in enumerate(index.shape):
        if axis != dim % self.ndim and size != self.shape[axis]:
            self = self.narrow(axis, 0, size)
    return torch.gather(self, dim, index)


def _gathers_part(given: Given) -> bool:
    data, index = given["self"].shape, given["index"].shape
    dim = given["dim"] % max(len(data), 1)
    return any(axis != dim and a != b for axis, (a, b) in enumerate(zip(data, index, strict=True)))


def _take_along(self: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    if dim is None:
        return torch.gather(self.reshape(-1), 0, indices.reshape(-1))
    dim %= self.ndim
    shape = [max(sizes) for sizes in zip(self.shape, indices.shape, strict=True)]
    here, there = list(shape), list(shape)
    here[dim], there[dim] = self.shape[dim], indices.shape[dim]
    return torch.gather(self.expand(here), dim, indices.expand(there))


def _cosine(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    lengths = [x.square().sum(dim, keepdim=True).sqrt().clamp(min=eps) for x in (x1, x2)]
    return ((x1 / lengths[0]) * (x2 / lengths[1])).sum(dim)


def _channel_shuffle(self: Tensor, groups: int) -> Tensor:
    shape = self.shape
    split = self.reshape(shape[0], groups, shape[1] // groups, *shape[2:])
    return split.transpose(1, 2).reshape(shape)


def _pad(self: Tensor, pad: list[int], mode: str = "constant", value: Any = None) -> Tensor:
    """Negative paddings cut, circular ones repeat the other end, the rest pads."""
    for index in range(0, len(pad), 2):
        before, after, axis = pad[index], pad[index + 1], self.ndim - 1 - index // 2
        length = self.shape[axis]
        if mode == "circular" and (before > 0 or after > 0):
            ends = [self.narrow(axis, length - before, before)] if before > 0 else []
            tail = [self.narrow(axis, 0, after)] if after > 0 else []
            self = torch.cat([*ends, self, *tail], axis)
        kept = length - max(-before, 0) - max(-after, 0)
        if mode != "circular" and kept != length:
            self = self.narrow(axis, max(-before, 0), kept)
    rest = [max(size, 0) for size in pad]
    return self if mode == "circular" or not any(rest) else F.pad(self, rest, mode, value)


def _odd_padding(given: Given) -> bool:
    sizes = given["pad"]
    negative = any(size < 0 for size in sizes)
    circular = given.get("mode", "constant") == "circular"
    return bool(negative != circular)  # nobody cuts and repeats in one call


def _average(self: Tensor, kernel_size: list[int], divisor_override: int, **others: Any) -> Tensor:
    window = math.prod(kernel_size) if len(kernel_size) > 1 else kernel_size[0] ** 2
    others["count_include_pad"] = True
    return F.avg_pool2d(self, kernel_size, **others) * (window / divisor_override)


def _divides_otherwise(given: Given) -> bool:
    return given.get("divisor_override") is not None and not given.get("ceil_mode")


def _grouped(
    query: Tensor, key: Tensor, value: Tensor, *, enable_gqa: bool, **others: Any
) -> Tensor:
    heads = query.shape[-3]
    key, value = (x.repeat_interleave(heads // x.shape[-3], -3) for x in (key, value))
    return F.scaled_dot_product_attention(query, key, value, **others)


def _scaled(given: Given) -> bool:
    return bool(given.get("alpha", 1) != 1)


def _mixed(given: Given) -> bool:
    return bool(given.get("alpha", 1) != 1 or given.get("beta", 1) != 1)


def _logical(operator: Callable[[Tensor, Tensor], Tensor]) -> Form:
    return Form(
        lambda given: given["self"].dtype == torch.bool and given["other"].dtype == torch.bool,
        lambda self, other: operator(self, other),  # noqa: PLW0108  # the schema's names
    )


def _is_float(given: Given) -> bool:
    return bool(given["self"].is_floating_point())


FORMS: dict[Callable[..., Any], Form] = {
    # Written, but something else: a mode, a factor or a correction is ignored; an epsilon is added.
    aten.gelu.default: Form(lambda given: given.get("approximate") == "tanh", _gelu),
    aten.reciprocal.default: Form(_is_float, _reciprocal),
    aten.log_softmax.int: Form(_is_float, _log_softmax),
    aten.rms_norm.default: Form(_always, _rms_norm),
    aten.instance_norm.default: Form(_instance_norm, _running_norm),
    aten.add.Tensor: Form(_scaled, lambda self, other, alpha: self + other * alpha),
    aten.sub.Tensor: Form(_scaled, lambda self, other, alpha: self - other * alpha),
    aten.elu.default: Form(
        lambda given: given.get("scale", 1) != 1 or given.get("input_scale", 1) != 1,
        lambda self, alpha=1, scale=1, input_scale=1: _elu(self, alpha, scale, input_scale),
    ),
    aten.softplus.default: Form(
        lambda given: given.get("threshold", 20) < EXACT_SOFTPLUS,
        lambda self, beta=1, threshold=20: _softplus(self, beta, threshold),
    ),
    aten.var.default: Form(_always, _var),
    aten.std.default: Form(_always, _std),
    aten.var.correction: Form(lambda given: not given.get("dim"), _var),
    aten.std.correction: Form(lambda given: not given.get("dim"), _std),
    aten.argmax.default: Form(
        lambda given: given.get("dim") is None and not given.get("keepdim"),
        lambda self, **_: self.reshape(-1).argmax(0),
    ),
    aten.argmin.default: Form(
        lambda given: given.get("dim") is None and not given.get("keepdim"),
        lambda self, **_: self.reshape(-1).argmin(0),
    ),
    # Refused, with or without a word that helps.
    aten.rsub.Scalar: Form(_always, lambda self, other, alpha=1: other - self * alpha),
    aten.rsub.Tensor: Form(_always, lambda self, other, alpha=1: other - self * alpha),
    aten.addmm.default: Form(
        _mixed, lambda self, mat1, mat2, beta=1, alpha=1: self * beta + (mat1 @ mat2) * alpha
    ),
    aten.baddbmm.default: Form(
        _mixed,
        lambda self, batch1, batch2, beta=1, alpha=1: self * beta + (batch1 @ batch2) * alpha,
    ),
    aten.addcmul.default: Form(
        _always, lambda self, tensor1, tensor2, value=1: self + tensor1 * tensor2 * value
    ),
    aten.addcdiv.default: Form(
        _always, lambda self, tensor1, tensor2, value=1: self + tensor1 / tensor2 * value
    ),
    aten.lerp.Scalar: Form(_always, lambda self, end, weight: self + (end - self) * weight),
    aten.lerp.Tensor: Form(_always, lambda self, end, weight: self + (end - self) * weight),
    aten.var_mean.default: Form(_always, _moments),
    aten.var_mean.dim: Form(_always, _moments),
    aten.var_mean.correction: Form(_always, _moments),
    aten.celu.default: Form(_always, _celu),
    aten.hardshrink.default: Form(_always, _hardshrink),
    aten.log_sigmoid.default: Form(_always, lambda self: -F.softplus(-self)),
    aten.erfc.default: Form(_always, lambda self: 1 - torch.erf(self)),
    aten.trunc.default: Form(_always, _trunc),
    aten.fmod.Tensor: Form(_is_float, _fmod),
    aten.fmod.Scalar: Form(_is_float, _fmod),
    aten.round.decimals: Form(_always, _round),
    aten.gather.default: Form(_gathers_part, _gather),
    aten.take_along_dim.default: Form(_always, _take_along),
    aten.cosine_similarity.default: Form(_always, _cosine),
    aten.channel_shuffle.default: Form(_always, _channel_shuffle),
    aten.pad.default: Form(_odd_padding, _pad),
    aten.avg_pool2d.default: Form(_divides_otherwise, _average),
    aten.scaled_dot_product_attention.default: Form(
        lambda given: bool(given.get("enable_gqa")), _grouped
    ),
    aten.__and__.Tensor: _logical(torch.logical_and),
    aten.__or__.Tensor: _logical(torch.logical_or),
    aten.__xor__.Tensor: _logical(torch.logical_xor),
}

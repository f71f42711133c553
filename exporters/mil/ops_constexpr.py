"""MIL weights stored compressed and quantized activations: *.constexpr_ops, iOS17.quantization_ops.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
iOS16 packs codes and masks into uint8 bytes and names the shape; iOS18 types them as sub-byte
tensors that have their shape. Arithmetic is float32, the result is rounded to its declared type.
"""

from __future__ import annotations

import math

import torch

from exporters.mil.ops_elementwise import CAST_TYPES
from exporters.mil.optable import Arguments, operation
from exporters.mil.values import unpack_bits

INT8_LIMITS = {"int8": (-128, 127, torch.int8), "uint8": (0, 255, torch.uint8)}


def _along(parameter: torch.Tensor, like: torch.Tensor, axis: int) -> torch.Tensor:
    """A scalar, or a vector laid along `axis` of `like`, as float32."""
    shape = [1] * like.dim()
    if parameter.dim():
        shape[axis] = parameter.numel()
    return parameter.float().reshape(shape)


def _blocks(parameter: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """One value per block, repeated to `shape`; the block size is the quotient of the sizes."""
    if parameter.dim() != len(shape):
        raise ValueError(f"scale {list(parameter.shape)} has another rank than {list(shape)}")
    for axis, size in enumerate(shape):
        count = parameter.shape[axis]
        if size % count:
            raise ValueError(f"{count} blocks do not divide axis {axis} of {list(shape)}")
        if count not in {1, size}:  # the others broadcast
            parameter = parameter.repeat_interleave(size // count, axis)
    return parameter.float()


@operation("constexpr_affine_dequantize", required="quantized_data zero_point scale axis")
def constexpr_affine_dequantize(a: Arguments) -> torch.Tensor:
    """iOS16.constexpr_ops: scale * (quantized_data - zero_point), scalars or one per channel."""
    data, axis = a.tensor("quantized_data"), a.integer("axis")
    zero, scale = (_along(a.tensor(name), data, axis) for name in ("zero_point", "scale"))
    return (data.float() - zero) * scale


@operation("constexpr_blockwise_shift_scale", required="data scale", optional={"offset": None})
def constexpr_blockwise_shift_scale(a: Arguments) -> torch.Tensor:
    """iOS18.compression: scale * (data - offset), one scale per block."""
    return _shift_scale(a.tensor("data"), a)


def _shift_scale(data: torch.Tensor, a: Arguments) -> torch.Tensor:
    offset, values = a.optional_tensor("offset"), data.float()
    if offset is not None:
        values = values - _blocks(offset, data.shape)
    return values * _blocks(a.tensor("scale"), data.shape)


@operation(
    "constexpr_lut_to_dense",
    required="indices lut",
    optional={"shape": None, "vector_axis": None},
)
def constexpr_lut_to_dense(a: Arguments) -> torch.Tensor:
    """iOS16.constexpr_ops (packed indices, one table) and iOS18.compression (tables per block)."""
    indices, lut = a.tensor("indices"), a.tensor("lut")
    if a.optional_tensor("shape") is None:
        return _look_up(indices, lut, a)
    shape = a.integers("shape")
    codes = _unpacked(indices, (lut.numel() - 1).bit_length(), shape)
    return lut[codes.long()].reshape(shape)


def _look_up(indices: torch.Tensor, lut: torch.Tensor, a: Arguments) -> torch.Tensor:
    """lut is (*groups, palettes, vector); an element belongs to the group its block lies in."""
    if lut.dim() != indices.dim() + 2:
        raise ValueError(f"lut {list(lut.shape)} for indices {list(indices.shape)}")
    groups, palettes, vector = lut.shape[:-2], lut.shape[-2], lut.shape[-1]
    numbers = torch.arange(math.prod(groups)).reshape(groups)
    group = _blocks(numbers, indices.shape).long()
    values = lut.reshape(-1, palettes, vector)[group, indices.long()]  # (*indices, vector)
    if vector == 1:
        return values.squeeze(-1)
    axis = a.integer("vector_axis") % indices.dim()
    return values.movedim(-1, axis + 1).flatten(axis, axis + 1)


def _unpacked(packed: torch.Tensor, bits: int, shape: list[int]) -> torch.Tensor:
    count = math.prod(shape)
    if packed.numel() != -(-count * bits // 8):
        raise ValueError(f"{packed.numel()} bytes do not hold {count} codes of {bits} bits")
    return unpack_bits(packed.flatten(), bits, count)


@operation("constexpr_sparse_to_dense", required="nonzero_data mask", optional={"shape": None})
def constexpr_sparse_to_dense(a: Arguments) -> torch.Tensor:
    """iOS16.constexpr_ops (packed mask) and iOS18.compression (uint1 mask): zero elsewhere."""
    mask = a.tensor("mask")
    if a.optional_tensor("shape") is not None:
        shape = a.integers("shape")
        mask = _unpacked(mask, 1, shape).reshape(shape)
    return _scattered(a.tensor("nonzero_data"), mask.bool())


def _scattered(nonzero: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """`nonzero` in row-major order where `mask` is true."""
    if int(mask.sum()) != nonzero.numel():
        raise ValueError(f"the mask has {int(mask.sum())} ones for {nonzero.numel()} values")
    dense = torch.zeros(mask.shape, dtype=nonzero.dtype)
    dense[mask] = nonzero
    return dense


@operation(
    "constexpr_sparse_blockwise_shift_scale",
    required="data_mask nonzero_data scale",
    optional={"offset": None},
)
def constexpr_sparse_blockwise_shift_scale(a: Arguments) -> tuple[torch.Tensor, ...]:
    """iOS18.compression: the mask, and the nonzero values scaled as in the dense layout."""
    mask = a.tensor("data_mask")
    dense = _scattered(a.tensor("nonzero_data"), mask.bool())
    return mask, _shift_scale(dense, a)[mask.bool()]


@operation(
    "constexpr_lut_to_sparse",
    required="indices_mask indices_nonzero_data lut",
    optional={"vector_axis": None},
)
def constexpr_lut_to_sparse(a: Arguments) -> tuple[torch.Tensor, ...]:
    """iOS18.compression: the mask, and the nonzero values looked up, both longer for vectors."""
    mask, lut = a.tensor("indices_mask"), a.tensor("lut")
    dense = _look_up(_scattered(a.tensor("indices_nonzero_data"), mask.bool()), lut, a)
    if lut.shape[-1] > 1:
        mask = mask.repeat_interleave(lut.shape[-1], a.integer("vector_axis"))
    return mask, dense[mask.bool()]


@operation("constexpr_cast", required="source_val output_dtype")
def constexpr_cast(a: Arguments) -> torch.Tensor:
    """iOS16.constexpr_ops.constexpr_cast: float16 stored, float32 used."""
    return a.tensor("source_val").to(CAST_TYPES[a.text("output_dtype")])


@operation(
    "quantize", required="input scale output_dtype", optional={"zero_point": None, "axis": None}
)
def quantize(a: Arguments) -> torch.Tensor:
    """iOS17.quantization_ops.quantize: clip(round(input / scale) + zero_point), halves to even."""
    data, (scale, zero) = a.tensor("input"), _scale_and_zero(a)
    word = a.text("output_dtype")
    if word not in INT8_LIMITS:
        raise ValueError(f"output_dtype {word!r} is not one of {sorted(INT8_LIMITS)}")
    low, high, dtype = INT8_LIMITS[word]
    return (torch.round(data / scale) + zero).clamp(low, high).to(dtype)


@operation("dequantize", required="input scale", optional={"zero_point": None, "axis": None})
def dequantize(a: Arguments) -> torch.Tensor:
    """iOS17.quantization_ops.dequantize: scale * (input - zero_point)."""
    scale, zero = _scale_and_zero(a)
    return (a.tensor("input").float() - zero) * scale


def _scale_and_zero(a: Arguments) -> tuple[torch.Tensor, torch.Tensor]:
    data, scale, zero = a.tensor("input"), a.tensor("scale"), a.optional_tensor("zero_point")
    axis = a.integer("axis") if scale.dim() else 0
    zero = torch.zeros(()) if zero is None else zero
    return _along(scale, data, axis), _along(zero, data, axis)

"""Puts weights into a `.tflite` model as integers or half floats, in the file's own layouts.

A constant is known by its bytes and its shape, in whichever entry points it is used.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantizers import litert_file
from quantizers.ranges import Numbers
from quantizers.recipe import Storage

__all__ = [
    "SLOTS", "Key", "Slot", "Stored", "constants", "dequantized", "float_constant", "key",
    "nearest", "rescaled", "store", "weight_of",
]  # fmt: skip


@dataclass(frozen=True)
class Slot:
    """Where an operator has its input, weight and bias, and the axis of a weight's scales."""

    axis: int
    input: int = 0
    weight: int = 1
    bias: int = 2


SLOTS = {
    "CONV_2D": Slot(0), "DEPTHWISE_CONV_2D": Slot(3), "FULLY_CONNECTED": Slot(0),
    "TRANSPOSE_CONV": Slot(0, input=2, bias=3),
}  # fmt: skip


@dataclass(frozen=True)
class Stored:
    """A constant as the file will hold it: `levels` in its shape, `scale` along `axis`.

    `levels` are int8, or the float16 values themselves, which have no scale.
    """

    dtype: str
    levels: Numbers
    scale: Numbers
    axis: int

    def values(self) -> Numbers:
        """As float32."""
        if self.dtype == "f16":
            return self.levels.astype(np.float32)
        along = [1] * self.levels.ndim
        along[self.axis] = -1
        values: Numbers = np.multiply(self.levels, self.scale.reshape(along), dtype=np.float32)
        return values


Key = tuple[bytes, tuple[int, ...]]


def key(array: Numbers) -> Key:
    """What a constant is known by."""
    return hashlib.sha256(array.tobytes()).digest(), array.shape


def float_constant(model: Any, data: bytes, tensor: Any) -> Numbers | None:
    """Values of a float32 tensor that is a constant."""
    if litert_file.dtype_name(tensor) != "FLOAT32" or tensor.shape is None:
        return None
    held = litert_file.constant_bytes(data, model.buffers[tensor.buffer])
    return np.frombuffer(held, "<f4").reshape(tensor.shape) if held else None


def constants(model: Any, data: bytes) -> Iterator[tuple[int, Any, Numbers]]:
    """(subgraph index, tensor, values) of the float32 constants that are not scalars."""
    for index, tensor in litert_file.tensors(model):
        values = float_constant(model, data, tensor)
        if values is not None and values.ndim:
            yield index, tensor, values


def weight_of(model: Any, data: bytes, subgraph: Any, op: Any) -> Numbers | None:
    """The float32 constant in the operator's weight slot, if it has one."""
    slot = SLOTS.get(litert_file.operator_name(model, op))
    if slot is None:
        return None
    return float_constant(model, data, subgraph.tensors[int(op.inputs[slot.weight])])


def nearest(values: Numbers, storage: Storage, axis: int) -> Stored:
    """Rounded to nearest with the least scale that clips nothing, per slice along `axis`."""
    if storage.dtype == "f16":
        return Stored("f16", values.astype(np.float16), np.zeros(0, np.float32), 0)
    top = 2 ** (storage.bits - 1) - 1
    others = tuple(i for i in range(values.ndim) if i != axis)
    largest = np.abs(values).max(others)
    scale = np.where(largest > 0, largest / top, 1.0).astype(np.float32)
    return rescaled(values, Stored(storage.dtype, np.zeros(0, np.int8), scale, axis), scale)


def rescaled(values: Numbers, stored: Stored, scale: Numbers) -> Stored:
    """`values` rounded to nearest with another scale of the same axis."""
    top = 2 ** (Storage(stored.dtype).bits - 1) - 1
    along = [1] * values.ndim
    along[stored.axis] = -1
    levels = np.clip(np.rint(values / scale.reshape(along)), -top, top).astype(np.int8)
    return Stored(stored.dtype, levels, scale.astype(np.float32), stored.axis)


def store(model: Any, tensor: Any, stored: Stored) -> None:
    """Turn a constant tensor of the object tree into what is stored."""
    from ai_edge_litert.schema_py_generated import QuantizationParametersT, TensorType

    types = {"f16": "FLOAT16", "i8": "INT8", "i4": "INT4", "i2": "INT2"}
    tensor.type = getattr(TensorType, types[stored.dtype])
    tensor.quantization = QuantizationParametersT()
    payload = stored.levels.astype("<f2") if stored.dtype == "f16" else _packed(stored)
    if stored.dtype != "f16":
        tensor.quantization.scale = stored.scale
        tensor.quantization.zeroPoint = np.zeros(len(stored.scale), np.int64)
        tensor.quantization.quantizedDimension = stored.axis
    tensor.buffer = litert_file.add_buffer(model, payload.tobytes())


def _packed(stored: Stored) -> Numbers:
    """Levels in bytes, the first in the lowest bits."""
    per_byte = 8 // Storage(stored.dtype).bits
    flat = stored.levels.reshape(-1)
    padded = np.zeros(math.ceil(flat.size / per_byte) * per_byte, np.uint8)
    padded[: flat.size] = flat.view(np.uint8)
    bits = 8 // per_byte
    packed = np.zeros(len(padded) // per_byte, np.uint8)
    for place in range(per_byte):
        packed |= (padded[place::per_byte] & (2**bits - 1)) << (bits * place)
    return packed


def dequantized(model: Any, data: bytes, wanted: Mapping[Key, Stored]) -> int:
    """Have every wanted float constant made by DEQUANTIZE of what is stored; how many there were.

    The runtime does this once, when it loads the file.
    """
    from ai_edge_litert.schema_py_generated import BuiltinOperator, OperatorT, TensorT

    count = 0
    for index, tensor, values in list(constants(model, data)):
        stored = wanted.get(key(values))
        if stored is None:
            continue
        subgraph = model.subgraphs[index]
        held = TensorT()
        held.name, held.shape = tensor.name + b"_stored", tensor.shape
        store(model, held, stored)
        tensor.buffer = 0  # the empty one: made at run time
        number = next(i for i, one in enumerate(subgraph.tensors) if one is tensor)
        subgraph.tensors.append(held)
        operator = OperatorT()
        operator.opcodeIndex = litert_file.operator_code(model, BuiltinOperator.DEQUANTIZE)
        operator.inputs = np.array([len(subgraph.tensors) - 1], np.int32)
        operator.outputs = np.array([number], np.int32)
        first = next(i for i, op in enumerate(subgraph.operators) if number in list(op.inputs))
        subgraph.operators.insert(first, operator)
        count += 1
    return count

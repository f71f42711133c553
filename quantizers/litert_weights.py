"""Puts weights into a `.tflite` model as integers or half floats, in the file's own layouts.

A converter renames and transposes weights (OIHW to OHWI, a depthwise (C, 1, h, w) to
(1, h, w, C)), so a grid of a plan is found by its values, in any order of its axes; and it may
multiply a layer's scale into the weight before it, so a factor per output channel is allowed.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headtail.errors import UsageFault
from quantizers import litert_file
from quantizers.plan import Grid
from quantizers.ranges import Numbers
from quantizers.recipe import Storage

__all__ = ["Stored", "constants", "dequantized", "match", "nearest", "store"]

_FACTOR_TOLERANCE = 1e-5  # of a channel's largest weight: what a folded multiplication rounds


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


# A constant is known by its bytes and its shape, in whichever entry points it is used.
Key = tuple[bytes, tuple[int, ...]]


def key(array: Numbers) -> Key:
    """What a constant is known by."""
    return hashlib.sha256(array.tobytes()).digest(), array.shape


def constants(model: Any, data: bytes) -> Iterator[tuple[int, Any, Numbers]]:
    """(subgraph index, tensor, values) of the float32 constants that are not scalars."""
    for index, tensor in litert_file.tensors(model):
        if litert_file.dtype_name(tensor) != "FLOAT32" or tensor.shape is None:
            continue
        held = litert_file.constant_bytes(data, model.buffers[tensor.buffer])
        if held and len(tensor.shape):
            yield index, tensor, np.frombuffer(held, "<f4").reshape(tensor.shape)


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


def match(grids: Mapping[str, Grid], held: Sequence[Numbers]) -> dict[Key, Stored]:
    """Each grid beside every constant of two or more axes that has its values.

    Raises `UsageFault` that names the grids whose values no constant has.
    """
    candidates = {key(array): array for array in held if array.ndim > 1}
    by_values: dict[bytes, list[Numbers]] = {}
    for array in candidates.values():
        by_values.setdefault(_sorted(array), []).append(array)
    found: dict[Key, Stored] = {}
    unmatched = {}
    for name, grid in grids.items():
        layouts = [(a, _layout(grid, a)) for a in by_values.get(_sorted(grid.values()), ())]
        hits = {key(array): stored for array, stored in layouts if stored is not None}
        found |= hits
        if not hits:
            unmatched[name] = grid
    free = [array for which, array in candidates.items() if which not in found]
    missing = []
    for name, grid in unmatched.items():
        layouts = [(a, _layout(grid, a)) for a in free if a.size == grid.levels.size]
        hits = {key(array): stored for array, stored in layouts if stored is not None}
        found |= hits
        if not hits:
            missing.append(name)
    if missing:
        raise _not_found(missing, grids)
    return found


def _not_found(missing: Sequence[str], grids: Mapping[str, Grid]) -> UsageFault:
    shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
    return UsageFault(
        f"{len(missing)} of {len(grids)} quantized weights are in no constant of the float file: "
        f"{shown}.",
        expected="The file is converted from the program that the plan belongs to, and the "
        "converter changes a weight only in layout or by a factor per output channel.",
        remedy="Give these weights f32 by a rule of the recipe, or quantize again from the model.",
    )


def _sorted(values: Numbers) -> bytes:
    # adding zero makes -0.0 and 0.0 the same bytes
    return hashlib.sha256((np.sort(values, axis=None) + np.float32(0)).tobytes()).digest()


def _layout(grid: Grid, constant: Numbers) -> Stored | None:
    """The grid in the constant's order of axes; None if it has other values."""
    source = [i for i, size in enumerate(grid.levels.shape) if size > 1]
    target = tuple(size for size in constant.shape if size > 1)
    values = grid.values()
    spread = np.broadcast_to(grid.scale, grid.levels.shape)
    for order in itertools.permutations(source):
        if tuple(grid.levels.shape[i] for i in order) != target:
            continue
        full = (*order, *(i for i in range(grid.levels.ndim) if i not in order))
        turned = [
            array.transpose(full).reshape(constant.shape) for array in (values, grid.levels, spread)
        ]
        factor = _factor(turned[0], constant, turned[2])
        if factor is not None:
            return _per_slice(grid, turned[1], turned[2] * factor)
    return None


def _factor(values: Numbers, constant: Numbers, spread: Numbers) -> Numbers | None:
    """By what each value was multiplied, the same wherever the scale is along one axis."""
    if np.array_equal(values, constant):
        return np.ones((1,) * values.ndim, np.float32)
    axis = _axis(spread)
    if axis is None:
        return None
    others = tuple(i for i in range(values.ndim) if i != axis)
    wide, held = values.astype(np.float64), constant.astype(np.float64)
    power = (wide**2).sum(others, keepdims=True)
    factor = np.divide((wide * held).sum(others, keepdims=True), power, where=power > 0)
    off = np.abs(wide * factor - held).max(others, keepdims=True)
    if (off > _FACTOR_TOLERANCE * np.abs(held).max(others, keepdims=True)).any():
        return None
    single: Numbers = factor.astype(np.float32)
    return single


def _axis(spread: Numbers) -> int | None:
    """The one axis along which scales differ (the longest, if they do not); None if several."""
    differ = [i for i in range(spread.ndim) if (spread != spread.take([0], i)).any()]
    if len(differ) > 1:
        return None
    return differ[0] if differ else max(range(spread.ndim), key=lambda i: spread.shape[i])


def _per_slice(grid: Grid, levels: Numbers, spread: Numbers) -> Stored | None:
    axis = _axis(spread)
    if axis is None:
        return None
    signed = np.where(spread < 0, -levels, levels).astype(np.int8)  # a negative factor
    first = tuple(slice(None) if i == axis else 0 for i in range(levels.ndim))
    scale = np.abs(spread[first]).astype(np.float32)
    return Stored(grid.storage.dtype, np.ascontiguousarray(signed), scale, axis)


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

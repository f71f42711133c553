"""Counts what an `.mlpackage` holds; definitions in `quantizers.audit`.

A compressed weight is a `constexpr_*` operation; it counts as what it is stored in, not as the
float it unpacks to: indices of four bits into a table are `lut4`, or `i4` if the table holds
integers.

A quantized operator is written as a float one whose results are quantized at once, maybe behind an
activation function that is computed with it. Such a result counts as the integers it becomes, and
what is between it and its activation function is no tensor. MIL:
https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headtail.errors import IntegrityFault
from headtail.manifest import FORWARD
from quantizers.audit import Audit
from quantizers.coreml_file import read_spec
from quantizers.coreml_proto import proto

__all__ = ["read"]

_FLOATS = ("f16", "f32", "f64")
# MIL name (MIL.proto, enum DataType) -> ours, where they differ from lower case
_NAMES = {
    "FLOAT16": "f16", "FLOAT32": "f32", "FLOAT64": "f64", "INT8": "i8", "INT16": "i16",
    "INT32": "i32", "INT64": "i64", "UINT8": "u8", "UINT16": "u16", "UINT32": "u32",
    "UINT64": "u64", "BOOL": "bool", "INT4": "i4",
}  # fmt: skip
# constexpr operation -> the argument that is stored once per weight element
_STORED = {
    "constexpr_affine_dequantize": "quantized_data",
    "constexpr_blockwise_shift_scale": "data",
    "constexpr_cast": "source_val",
    "constexpr_lut_to_dense": "indices",
    "constexpr_sparse_to_dense": "nonzero_data",
}
_CONVERSIONS = ("quantize", "dequantize")
# activation functions that an integer operator computes with its result
_FUSED = ("clip", "relu", "relu6")


def read(path: Path) -> Audit:
    """Parse the specification inside the package and count."""
    functions = read_spec(path).mlProgram.functions
    if not functions:
        raise IntegrityFault(
            f"{path.name} holds no ML program.",
            file=path.name,
            expected="An .mlpackage with at least one function.",
            remedy="Export it again.",
        )
    entry = FORWARD if FORWARD in functions else next(iter(functions))
    forward = list(_operations(functions[entry]))
    return Audit(_weights(functions), _activations(forward), _float_ops(forward))


def _operations(function: Any) -> Iterator[Any]:
    stack = list(function.block_specializations.values())
    while stack:
        for operation in stack.pop().operations:
            yield operation
            stack.extend(operation.blocks)


def _is_constant(operation: Any) -> bool:
    return operation.type == "const" or str(operation.type).startswith("constexpr_")


def _dtype(tensor: Any) -> str:
    name = str(proto("MIL_pb2").DataType.Name(tensor.dataType))
    return _NAMES.get(name, name.lower())


def _weights(functions: Any) -> dict[str, int]:
    """By place in the weight file, so that a shared weight counts once."""
    seen: dict[tuple[object, ...], tuple[str, int]] = {}
    for name in functions:
        operations = list(_operations(functions[name]))
        inside = {
            argument.name
            for operation in operations
            if operation.type.startswith("constexpr_")
            for binding in operation.inputs.values()
            for argument in binding.arguments
        }
        for operation in operations:
            stored = _stored(operation, inside)
            if stored is None:
                continue
            dtype, value = stored
            blob = value.blobFileValue
            here = (
                (blob.fileName, blob.offset) if blob.fileName else (name, operation.outputs[0].name)
            )
            shape = [int(size.constant.size) for size in value.type.tensorType.dimensions]
            seen[here] = (dtype, math.prod(shape))
    counts = Counter[str]()
    for dtype, elements in seen.values():
        counts[dtype] += elements
    return dict(sorted(counts.items()))


def _stored(operation: Any, inside: set[str]) -> tuple[str, Any] | None:
    """Dtype and value of a weight as it is stored, or None if the operation is no weight."""
    if operation.type == "const" and operation.outputs[0].name not in inside:
        value = operation.attributes["val"]
        tensor = value.type.tensorType
        dtype = _dtype(tensor)
        return (dtype, value) if tensor.rank > 0 and dtype in _FLOATS else None
    name = _STORED.get(operation.type)
    if name is None:
        return None
    value = _argument(operation, name)
    if value is None:
        return None  # another constant operation holds it
    dtype = _dtype(value.type.tensorType)
    if operation.type == "constexpr_lut_to_dense":
        kind = "lut" if _dtype(operation.outputs[0].type.tensorType) in _FLOATS else "i"
        dtype = kind + dtype.lstrip("uint")
    return dtype, value


def _argument(operation: Any, name: str) -> Any:
    if name in operation.attributes:
        return operation.attributes[name]
    argument = operation.inputs[name].arguments[0]
    return argument.value if argument.HasField("value") else None


def _activations(operations: list[Any]) -> dict[str, int]:
    counts = Counter(dtype for _, kept in _results(operations) for dtype in kept)
    return dict(sorted(counts.items()))


def _float_ops(operations: list[Any]) -> dict[str, int]:
    counts = Counter(
        operation.type
        for operation, kept in _results(operations)
        if operation.type != "cast" and any(dtype in _FLOATS for dtype in kept)
    )
    return dict(sorted(counts.items()))


def _results(operations: list[Any]) -> Iterator[tuple[Any, list[str]]]:
    """Everything that computes, with the dtypes as which its results are kept."""
    computed = [op for op in operations if not _is_constant(op)]
    readers: dict[str, list[Any]] = {}
    for operation in computed:
        for binding in operation.inputs.values():
            for argument in binding.arguments:
                readers.setdefault(argument.name, []).append(operation)
    for operation in computed:
        if operation.type not in _CONVERSIONS:
            kept = [_kept(output, readers) for output in operation.outputs]
            yield operation, [dtype for dtype in kept if dtype]


def _kept(output: Any, readers: dict[str, list[Any]]) -> str:
    """Its dtype, that of the integers it becomes, or none if it is only an operator's inside."""
    found = readers.get(output.name, [])
    if found and all(reader.type == "quantize" for reader in found):
        dtype = _dtype(found[0].outputs[0].type.tensorType)
        return "i8" if dtype == "u8" else dtype  # coremltools makes zero point -128 of int8 it
    if len(found) == 1 and found[0].type in _FUSED:
        result = found[0].outputs[0]
        if _kept(result, readers) != _dtype(result.type.tensorType):
            return ""
    return _dtype(output.type.tensorType)

"""Counts what an `.mlpackage` holds; definitions in `quantizers.audit`.

A compressed weight is a `constexpr_*` operation; it counts as the dtype it is stored in, not as the
float it unpacks to. MIL: https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html.
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
    "UINT64": "u64", "BOOL": "bool",
}  # fmt: skip
# constexpr operation -> the argument that is stored once per weight element
_STORED = {
    "constexpr_affine_dequantize": "quantized_data",
    "constexpr_blockwise_shift_scale": "data",
    "constexpr_cast": "source_val",
    "constexpr_lut_to_dense": "indices",
    "constexpr_sparse_to_dense": "nonzero_data",
}


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
            value = _stored(operation, inside)
            if value is None:
                continue
            blob = value.blobFileValue
            here = (
                (blob.fileName, blob.offset) if blob.fileName else (name, operation.outputs[0].name)
            )
            tensor = value.type.tensorType
            shape = [int(size.constant.size) for size in tensor.dimensions]
            seen[here] = (_dtype(tensor), math.prod(shape))
    counts = Counter[str]()
    for dtype, elements in seen.values():
        counts[dtype] += elements
    return dict(sorted(counts.items()))


def _stored(operation: Any, inside: set[str]) -> Any:
    """The value of a weight as it is stored, or None if the operation is no weight."""
    if operation.type == "const" and operation.outputs[0].name not in inside:
        value = operation.attributes["val"]
        tensor = value.type.tensorType
        return value if tensor.rank > 0 and _dtype(tensor) in _FLOATS else None
    argument = _STORED.get(operation.type)
    if argument is None:
        return None
    if argument in operation.attributes:
        return operation.attributes[argument]
    return operation.inputs[argument].arguments[0].value


def _activations(operations: list[Any]) -> dict[str, int]:
    counts = Counter(
        _dtype(output.type.tensorType)
        for operation in operations
        if not _is_constant(operation)
        for output in operation.outputs
    )
    return dict(sorted(counts.items()))


def _float_ops(operations: list[Any]) -> dict[str, int]:
    counts = Counter(
        operation.type
        for operation in operations
        if not _is_constant(operation)
        and operation.type not in ("cast", "quantize", "dequantize")
        and any(_dtype(output.type.tensorType) in _FLOATS for output in operation.outputs)
    )
    return dict(sorted(counts.items()))

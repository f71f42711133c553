"""Counts what a `.tflite` file holds; definitions in `quantizers.audit`."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

from headtail.errors import IntegrityFault
from headtail.manifest import FORWARD
from quantizers import litert_file
from quantizers.audit import Audit
from quantizers.litert_backend import MEASURED_RANGES
from quantizers.litert_file import operator_name

__all__ = ["read"]

_NAMES = {
    "FLOAT32": "f32", "FLOAT16": "f16", "FLOAT64": "f64",
    "INT2": "i2", "INT4": "i4", "INT8": "i8", "INT16": "i16", "INT32": "i32", "INT64": "i64",
    "UINT8": "u8", "UINT16": "u16", "UINT32": "u32", "UINT64": "u64", "BOOL": "bool",
}  # fmt: skip
_FLOATS = ("f16", "f32", "f64")
_CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")
# Operators that multiply -> where the two inputs are.
_MULTIPLYING = {
    "CONV_2D": (0, 1), "DEPTHWISE_CONV_2D": (0, 1), "FULLY_CONNECTED": (0, 1),
    "TRANSPOSE_CONV": (2, 1), "BATCH_MATMUL": (0, 1),
}  # fmt: skip


def read(path: Path) -> Audit:
    """Parse the file and count."""
    data = path.read_bytes()
    if data[4:8] != b"TFL3":
        raise IntegrityFault(
            f"{path.name} does not carry the mark TFL3.",
            file=path.name,
            expected="A LiteRT file has it at byte 4.",
            remedy="Export or fetch it again.",
        )
    model = litert_file.open_model(data)
    subgraph = model.subgraphs[_forward(model)]
    return Audit(
        _weights(model),
        _activations(model, subgraph),
        _float_ops(model, subgraph),
        _products(model, subgraph),
        _remarks(litert_file.note(model, data, MEASURED_RANGES)),
    )


def _remarks(measured: str) -> tuple[str, ...]:
    if not measured:
        return ()
    return (f"{measured} tensors have ranges measured on the file: the plan has no such value",)


def _forward(model: Any) -> int:
    for signature in model.signatureDefs or []:
        if signature.signatureKey.decode() == FORWARD:
            return int(signature.subgraphIndex)
    return 0


def _dtype(tensor: Any) -> str:
    name = litert_file.dtype_name(tensor)
    return _NAMES.get(name, name.lower())


def _is_constant(model: Any, tensor: Any) -> bool:
    buffer = model.buffers[tensor.buffer]
    return bool(buffer.offset) or (buffer.data is not None and len(buffer.data) > 0)


def _weights(model: Any) -> dict[str, int]:
    """By buffer, so that a shared one counts once."""
    seen: dict[int, tuple[str, int]] = {}
    for _, tensor in litert_file.tensors(model):
        shape = [] if tensor.shape is None else [int(size) for size in tensor.shape]
        if not shape or not _is_constant(model, tensor):
            continue
        dtype = _dtype(tensor)
        if dtype in _FLOATS or litert_file.quantization(tensor)[0]:
            seen[tensor.buffer] = (dtype, math.prod(shape))
    counts = Counter[str]()
    for dtype, elements in seen.values():
        counts[dtype] += elements
    return dict(sorted(counts.items()))


def _activations(model: Any, subgraph: Any) -> dict[str, int]:
    unpacked = {
        int(output)
        for op in subgraph.operators
        if operator_name(model, op) == "DEQUANTIZE"
        and _is_constant(model, subgraph.tensors[int(op.inputs[0])])
        for output in op.outputs
    }
    used = {int(i) for op in subgraph.operators for i in (*op.inputs, *op.outputs) if i >= 0}
    counts = Counter(
        _dtype(subgraph.tensors[i])
        for i in used - unpacked
        if not _is_constant(model, subgraph.tensors[i])
    )
    return dict(sorted(counts.items()))


def _float_ops(model: Any, subgraph: Any) -> dict[str, int]:
    counts = Counter(
        operator_name(model, op).lower()
        for op in subgraph.operators
        if operator_name(model, op) not in _CONVERSIONS
        and any(_dtype(subgraph.tensors[int(i)]) in _FLOATS for i in op.outputs)
    )
    return dict(sorted(counts.items()))


def _products(model: Any, subgraph: Any) -> dict[str, int]:
    """A weight that is read as integers is multiplied with integers: inputs that are float are
    rounded by the kernel."""
    counts = Counter[str]()
    for op in subgraph.operators:
        name = operator_name(model, op)
        if name not in _MULTIPLYING:
            continue
        left, right = (subgraph.tensors[int(op.inputs[place])] for place in _MULTIPLYING[name])
        out = subgraph.tensors[int(op.outputs[0])]
        dtypes = [_dtype(left), _dtype(right)]
        rounded = dtypes[0] in _FLOATS and dtypes[1] not in _FLOATS
        floats = [dtype for dtype in dtypes if dtype in _FLOATS]
        dtype = "i8" if rounded else (floats or dtypes)[0]
        counts[dtype] += _multiplied(name, op, _sizes(left), _sizes(right), _sizes(out))
    return dict(sorted(counts.items()))


def _multiplied(name: str, op: Any, left: list[int], right: list[int], out: list[int]) -> int:
    if name == "BATCH_MATMUL":
        return math.prod(out) * left[-2 if op.builtinOptions.adjX else -1]
    if name == "TRANSPOSE_CONV":  # every input goes into a kernel's worth of outputs
        return math.prod(left) * math.prod(right) // right[-1]
    return math.prod(out) * math.prod(right) // right[-1 if name.startswith("DEPTHWISE") else 0]


def _sizes(tensor: Any) -> list[int]:
    return [] if tensor.shape is None else [int(size) for size in tensor.shape]

"""Counts what a `.pte` file holds; definitions in `quantizers.audit`.

Two places hold tensors: the program's own constants, for operators that run on the portable
kernels, and the XNNPACK delegates, each a small FlatBuffer whose schema executorch ships
(`backends/xnnpack/serialization/schema.fbs`) behind a 32-byte header marked `XH00`. There every
value has a dtype, and a constant names its bytes by their SHA-256, so a weight that two methods
share counts once. Other delegates are opaque and refused.
"""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections import Counter
from importlib import resources
from pathlib import Path
from typing import Any

from headtail.errors import IntegrityFault
from headtail.manifest import FORWARD
from quantizers.audit import Audit

__all__ = ["read"]

_MARK = b"XH00"
_SCHEMA = "backends/xnnpack/serialization/schema.fbs"
_NOT_FINITE = re.compile(r"(?<=: )(-?)(inf|nan)\b")
_FLOATS = ("f16", "f32", "f64", "bf16")
# XNNDatatype -> ours: q = quantized, c = per channel, d = dynamic, p = packed
_XNNPACK = {
    "fp32": "f32", "fp16": "f16", "bf16": "bf16", "pfp32": "f32", "int32": "i32",
    "qint8": "i8", "quint8": "u8", "qint32": "i32", "qcint8": "i8", "qcint32": "i32",
    "qcint4": "i4", "qbint4": "i4", "qdint8": "i8", "qpint8": "i8",
}  # fmt: skip
# ScalarType of executorch/runtime -> ours
_SCALAR = {
    "BYTE": "u8", "CHAR": "i8", "SHORT": "i16", "INT": "i32", "LONG": "i64", "HALF": "f16",
    "FLOAT": "f32", "DOUBLE": "f64", "BOOL": "bool", "BFLOAT16": "bf16",
}  # fmt: skip


# Operators that multiply -> where the two operands are.
_MULTIPLYING = {
    "XNNFullyConnected": ("input1_id", "filter_id"),
    "XNNConv2d": ("input1_id", "filter_id"),
    "XNNDepthwiseConv2d": ("input1_id", "filter_id"),
    "XNNConvTranspose2d": ("input1_id", "filter_id"),
    "XNNBatchMatrixMultiply": ("input1_id", "input2_id"),
}
_PORTABLE = {"convolution": (0, 1), "linear": (0, 1), "mm": (0, 1), "bmm": (0, 1), "addmm": (1, 2)}
_PRODUCTS_OF_TWO = ("XNNBatchMatrixMultiply", "mm", "bmm", "addmm")
_BATCHED = "batchmatrixmultiply"
_NO_INTEGER_PRODUCT = (
    "XNNPACK multiplies two activations (attention's batchmatrixmultiply) in float only"
)


class _Counts:
    def __init__(self) -> None:
        self.weights: dict[tuple[str, str], tuple[str, int]] = {}
        self.activations = Counter[str]()
        self.float_ops = Counter[str]()
        self.products = Counter[str]()

    def multiply(self, name: str, *tensors: tuple[str, list[int]]) -> None:
        """Count the products of an operator; `tensors` are both operands and the output, each a
        dtype and sizes."""
        (left, _), (right, kernel), _ = tensors
        floats = [dtype for dtype in (left, right) if dtype in _FLOATS]
        given, out = tensors[0][1], math.prod(tensors[2][1])
        if name in _PRODUCTS_OF_TWO:
            count = out * given[-1]
        elif name == "XNNConvTranspose2d":  # every input goes into a kernel's worth of outputs
            count = math.prod(given) * math.prod(kernel) // kernel[-1]
        else:
            channels = kernel[-1 if name == "XNNDepthwiseConv2d" else 0]
            count = out * math.prod(kernel) // channels
        self.products[(floats or [left])[0]] += count


def read(path: Path) -> Audit:
    """Parse the program and its XNNPACK payloads and count."""
    from executorch.exir._serialize._program import deserialize_pte_binary

    program = deserialize_pte_binary(path.read_bytes()).program
    counts = _Counts()
    for plan in program.execution_plan:
        main = plan.name == FORWARD or len(program.execution_plan) == 1
        _count_portable(plan, counts, main=main)
        for delegate in plan.delegates:
            payload = bytes(program.backend_delegate_data[delegate.processed.index].data)
            _count_delegate(_xnnpack_graph(delegate.id, payload, path), counts, main=main)
    weights = Counter[str]()
    for dtype, elements in counts.weights.values():
        weights[dtype] += elements
    return Audit(
        dict(sorted(weights.items())),
        dict(sorted(counts.activations.items())),
        dict(sorted(counts.float_ops.items())),
        dict(sorted(counts.products.items())),
        (_NO_INTEGER_PRODUCT,) if _BATCHED in counts.float_ops else (),
    )


def _count_portable(plan: Any, counts: _Counts, *, main: bool) -> None:
    tensors = {i: v.val for i, v in enumerate(plan.values) if type(v.val).__name__ == "Tensor"}
    dtypes = {i: _scalar(tensor) for i, tensor in tensors.items()}
    for i, tensor in tensors.items():
        if tensor.data_buffer_idx and tensor.sizes and dtypes[i] in (*_FLOATS, "i8", "u8"):
            key = ("constant", str(tensor.data_buffer_idx))
            counts.weights[key] = (dtypes[i], math.prod(tensor.sizes))
    if not main:
        return
    used: set[int] = set()
    for instruction in (step for chain in plan.chains for step in chain.instructions):
        call = instruction.instr_args
        arguments = [i for i in getattr(call, "args", ()) if i in tensors]
        used.update(i for i in arguments if not tensors[i].data_buffer_idx)
        if type(call).__name__ == "KernelCall" and any(dtypes[i] in _FLOATS for i in arguments):
            name = plan.operators[call.op_index].name.removeprefix("aten::")
            if "quantize_per" not in name:
                counts.float_ops[name] += 1
            if name in _PORTABLE:
                places = [call.args[place] for place in (*_PORTABLE[name], -1)]
                counts.multiply(name, *((dtypes[i], list(tensors[i].sizes)) for i in places))
    counts.activations.update(dtypes[i] for i in used)


def _scalar(tensor: Any) -> str:
    name = str(tensor.scalar_type.name)
    return _SCALAR.get(name, name.lower())


def _xnnpack_graph(backend: str, payload: bytes, path: Path) -> dict[str, Any]:
    """The delegate's graph as the JSON form of executorch's own schema."""
    if payload[4:8] != _MARK:
        raise IntegrityFault(
            f"{path.name} has a {backend} delegate whose payload is not marked {_MARK.decode()}.",
            file=path.name,
            expected="Only XNNPACK delegates say which dtypes they hold.",
            remedy="Export with the XNNPACK delegate.",
        )
    from executorch.exir._serialize._flatbuffer import _flatc_decompile

    start = int.from_bytes(payload[10:14], "little")
    size = int.from_bytes(payload[14:18], "little")
    with tempfile.TemporaryDirectory() as folder:
        schema, graph = Path(folder, "schema.fbs"), Path(folder, "graph.bin")
        schema.write_bytes(resources.files("executorch").joinpath(_SCHEMA).read_bytes())
        graph.write_bytes(payload[start : start + size])
        _flatc_decompile(folder, str(schema), str(graph), ["--raw-binary"])
        # flatc writes the upper bound of a ReLU as `inf`, which Python's JSON calls Infinity
        text = _NOT_FINITE.sub(_spelled_out, Path(folder, "graph.json").read_text())
        decoded: dict[str, Any] = json.loads(text)
    return decoded


def _spelled_out(match: re.Match[str]) -> str:
    return match[1] + {"inf": "Infinity", "nan": "NaN"}[match[2]]


def _count_delegate(graph: dict[str, Any], counts: _Counts, *, main: bool) -> None:
    dtypes: dict[int, str] = {}
    sizes: dict[int, list[int]] = {}
    for item in graph["xvalues"]:
        value = item["xvalue_union"]
        value = value.get("tensor_value", value)
        name = value["datatype"].removeprefix("xnn_datatype_")
        dtype = dtypes[value["id_out"]] = _XNNPACK.get(name, name)
        sizes[value["id_out"]] = value["dims"]
        constant = graph["constant_data"][value["constant_buffer_idx"]]
        if value["constant_buffer_idx"] and value["num_dims"]:
            key = ("named", constant["named_key"] or f"{constant['offset']}")
            counts.weights[key] = (dtype, math.prod(value["dims"]))
        elif main:
            counts.activations[dtype] += 1
    if main:
        for node in graph["xnodes"]:
            kind, output = node["xnode_union_type"], node["xnode_union"].get("output_id")
            if kind != "XNNConvert" and dtypes.get(output) in _FLOATS:
                counts.float_ops[kind.removeprefix("XNN").lower()] += 1
            if kind in _MULTIPLYING:
                places = [node["xnode_union"][p] for p in _MULTIPLYING[kind]]
                counts.multiply(kind, *((dtypes[i], sizes[i]) for i in (*places, output)))

"""Reading and compact writing of `.tflite` files.

ai-edge-quantizer writes the per-channel scales and zero points of a weight once per tensor that
uses it, so every entry point that shares a weight pays for them again (12 bytes per output channel
and tensor). A FlatBuffer may point to one vector from many places
(https://flatbuffers.dev/internals/), so equal vectors are written once here. The converter names a
tensor by the modules it came from, up to 500 bytes each; `forward` keeps those names, the inner
tensors of other entry points are called `<entry>/<index>`. Buffers stay outside the FlatBuffer,
16-byte aligned, as the schema's `offset` and `size` allow
(https://github.com/google-ai-edge/LiteRT/blob/main/tflite/schema/schema.fbs).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from headtail.manifest import FORWARD

__all__ = [
    "add_buffer",
    "add_note",
    "compact",
    "constant_bytes",
    "dtype_name",
    "note",
    "open_model",
    "operator_code",
    "operator_name",
    "quantization",
    "read",
    "tensors",
    "written",
]

_ALIGNMENT = 16
_PLACEHOLDER = 127  # in the old one-byte field of an operator code: see the new field


def open_model(data: bytes) -> Any:
    """The file's bytes as a `ModelT` object tree."""
    from ai_edge_litert.tools.flatbuffer_utils import Model, ModelT

    return ModelT.InitFromObj(Model.GetRootAs(data, 0))


def tensors(model: Any) -> Iterator[tuple[int, Any]]:
    """Every (subgraph index, tensor)."""
    for index, subgraph in enumerate(model.subgraphs):
        for tensor in subgraph.tensors:
            yield index, tensor


def dtype_name(tensor: Any) -> str:
    """The schema's name of the tensor's dtype, for example `INT8`."""
    from ai_edge_litert.tools.flatbuffer_utils import type_to_name

    return str(type_to_name(tensor.type))


def constant_bytes(data: bytes, buffer: Any) -> bytes:
    """Contents of a buffer, wherever the file keeps it; empty for a tensor made at run time."""
    if buffer.offset:
        return bytes(data[buffer.offset : buffer.offset + buffer.size])
    return b"" if buffer.data is None else np.asarray(buffer.data, np.uint8).tobytes()


def quantization(tensor: Any) -> tuple[bytes, bytes, int]:
    """Scales, zero points and axis of a tensor in comparable form; empty bytes if it has none."""
    found = tensor.quantization
    if found is None or found.scale is None:
        return b"", b"", 0
    points = () if found.zeroPoint is None else found.zeroPoint
    return (
        np.asarray(found.scale, "<f4").tobytes(),
        np.asarray(points, "<i8").tobytes(),
        int(found.quantizedDimension),
    )


def operator_name(model: Any, op: Any) -> str:
    """The schema's name of the operator, for example `CONV_2D`."""
    from ai_edge_litert.tools.flatbuffer_utils import opcode_to_name

    return str(opcode_to_name(model, op.opcodeIndex))


def operator_code(model: Any, builtin: int) -> int:
    """Index of a builtin operator's code in the model, which it is added to if it is missing."""
    from ai_edge_litert.schema_py_generated import OperatorCodeT

    for index, code in enumerate(model.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == builtin:
            return index
    added = OperatorCodeT()
    added.builtinCode = builtin
    added.deprecatedBuiltinCode = min(builtin, _PLACEHOLDER)
    model.operatorCodes.append(added)
    return len(model.operatorCodes) - 1


def add_buffer(model: Any, payload: bytes) -> int:
    """Index of a new buffer that holds `payload`."""
    from ai_edge_litert.schema_py_generated import BufferT

    buffer = BufferT()
    buffer.data = np.frombuffer(payload, np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def add_note(model: Any, name: str, text: str) -> None:
    """Keep a text of ours in the model's metadata."""
    from ai_edge_litert.schema_py_generated import MetadataT

    note = MetadataT()
    note.name, note.buffer = name.encode(), add_buffer(model, text.encode())
    model.metadata = [*(model.metadata or []), note]


def note(model: Any, data: bytes, name: str) -> str:
    """The text that `add_note` kept; "" if there is none."""
    found = [item for item in model.metadata or [] if item.name.decode() == name]
    return constant_bytes(data, model.buffers[found[0].buffer]).decode() if found else ""


def compact(data: bytes) -> bytes:
    """The same model with equal vectors written once, short inner names and aligned buffers."""
    return written(open_model(data), data)


def written(model: Any, data: bytes) -> bytes:
    """An object tree as a file, compact; `data` is the file whose buffers it may point into."""
    from ai_edge_litert.tools import flatbuffer_utils

    _shorten_names(model)
    payloads = _payloads(model, data)
    for index in payloads:
        # placeholders: zero would leave no room for the fields
        model.buffers[index].data = None
        model.buffers[index].offset = model.buffers[index].size = 1
    packed = _pack(model)
    root = flatbuffer_utils.Model.GetRootAs(packed, 0)
    parts: list[bytes] = [b""]
    position = len(packed)
    for index, payload in payloads.items():
        gap = -position % _ALIGNMENT
        flatbuffer_utils.update_packed_buffer(
            root.Buffers(index), offset=position + gap, size=len(payload)
        )
        parts += [bytes(gap), payload]
        position += gap + len(payload)
    return bytes(packed) + b"".join(parts)


def _payloads(model: Any, data: bytes) -> dict[int, bytes]:
    """Buffer index -> contents; equal constants become one buffer, unused ones are dropped."""
    from ai_edge_litert.schema_py_generated import BufferT

    first: dict[bytes, int] = {}
    kept: list[Any] = []
    payloads: dict[int, bytes] = {}
    numbers: dict[int, int] = {}
    used = sorted({0, *(tensor.buffer for _, tensor in tensors(model))})
    used += sorted({item.buffer for item in model.metadata or []} - set(used))
    for index in used:
        payload = constant_bytes(data, model.buffers[index])
        if payload and payload in first:
            numbers[index] = first[payload]
            continue
        numbers[index] = len(kept)
        kept.append(BufferT())
        if payload:
            first[payload] = numbers[index]
            payloads[numbers[index]] = payload
    for _, tensor in tensors(model):
        tensor.buffer = numbers[tensor.buffer]
    for item in model.metadata or []:
        item.buffer = numbers[item.buffer]
    model.buffers = kept
    return payloads


def _shorten_names(model: Any) -> None:
    for signature in model.signatureDefs or []:
        entry = signature.signatureKey.decode()
        subgraph = model.subgraphs[signature.subgraphIndex]
        ends = {int(index) for index in (*subgraph.inputs, *subgraph.outputs)}
        for index, tensor in enumerate(subgraph.tensors):
            if entry != FORWARD and index not in ends:
                tensor.name = f"{entry}/{index}".encode()


def _pack(model: Any) -> bytearray:
    import flatbuffers

    class SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]  # an untyped base
        """Writes a numpy vector that it has written before as a reference to the first one."""

        def __init__(self) -> None:
            super().__init__(1024)
            self.written: dict[tuple[str, bytes], int] = {}

        def CreateNumpyVector(self, x: Any) -> int:  # noqa: N802  # overrides flatbuffers' name
            key = (x.dtype.str, x.tobytes())
            if key not in self.written:
                self.written[key] = super().CreateNumpyVector(x)
            return self.written[key]

    builder = SharingBuilder()
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return builder.Output()  # type: ignore[no-any-return]  # bytearray


def read(path: Path) -> tuple[Any, bytes]:
    """A file on disk as (object tree, its bytes)."""
    data = path.read_bytes()
    return open_model(data), data

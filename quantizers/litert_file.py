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
    "compact",
    "constant_bytes",
    "dtype_name",
    "open_model",
    "quantization",
    "read",
    "tensors",
]

_ALIGNMENT = 16


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


def compact(data: bytes) -> bytes:
    """The same model with equal vectors written once, short inner names and aligned buffers."""
    from ai_edge_litert.tools import flatbuffer_utils

    model = open_model(data)
    _shorten_names(model)
    outside = sorted({tensor.buffer for _, tensor in tensors(model)})
    payloads = {i: constant_bytes(data, model.buffers[i]) for i in outside}
    payloads = {i: payload for i, payload in payloads.items() if payload}
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

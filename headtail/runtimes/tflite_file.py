"""The structure of a `.tflite`: read with every offset checked, before a runtime trusts it.

A `.tflite` is a FlatBuffer of the schema
https://github.com/google-ai-edge/LiteRT/blob/main/tflite/converter/schema/schema.fbs.
LiteRT's C API follows its offsets unchecked and ends the process on a file that was cut short; here
that is an `IntegrityFault`. Everything up to the operators' operands is checked, their options are
not: that a byte of a weight or an option is another one, only the bundle's hash can say.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headtail.errors import TensorMismatch
from headtail.runtimes.flatbuffer import BrokenFile, FlatBytes, FlatTable, check_index, opened
from headtail.runtimes.litert_border import Affine, in_order, quantized
from headtail.tensors import Array

__all__ = ["SignatureTensors", "TfliteTensor", "read_tflite"]

IDENTIFIER = b"TFL3"
# TensorType of the schema -> numpy dtype name
_DTYPES = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    6: "bool",
    7: "int16",
    9: "int8",
    10: "float64",
    12: "uint64",
    15: "uint32",
    16: "uint16",
}


@dataclass(frozen=True)
class TfliteTensor:
    """One input or output of a signature: its name there, its shape, dtype and quantization.

    `index` is the tensor's number in its subgraph: an output with an input's is that input.
    """

    name: str
    index: int
    shape: tuple[int, ...]
    affine: Affine

    def filed(self, array: Array) -> Array:
        """`array` as the file takes it, contiguous; `TensorMismatch` if it cannot be."""
        codes = quantized(array, self.affine)
        if codes.shape != self.shape or codes.dtype != self.affine.dtype:
            raise TensorMismatch(
                f"The manifest describes {self.name} as {codes.dtype}{list(codes.shape)}.",
                expected=f"The file takes {self.affine.dtype}{list(self.shape)}.",
                remedy="Export the model again; file and manifest do not belong together.",
            )
        return codes


@dataclass(frozen=True)
class SignatureTensors:
    """Inputs and outputs of a signature in the manifest's order."""

    inputs: tuple[TfliteTensor, ...]
    outputs: tuple[TfliteTensor, ...]


def read_tflite(path: Path) -> dict[str, SignatureTensors]:
    """The signatures of a file whose structure is whole; raises `IntegrityFault` otherwise."""
    with opened(path, "a whole .tflite file with signatures") as data:
        return _signatures(data)


def _signatures(data: FlatBytes) -> dict[str, SignatureTensors]:
    if data.size < 8 or data.data[4:8] != IDENTIFIER:
        raise BrokenFile(f"it does not say {IDENTIFIER.decode()} at byte 4")
    model = FlatTable(data, data.number("I", 0))
    codes = [(code.text(1), code) for code in model.tables(1)]
    buffers = [_buffer(data, buffer) for buffer in model.tables(4)]
    for metadata in model.tables(6):
        check_index(metadata.number(1, "I"), len(buffers), "buffer")
    graphs = [_subgraph(graph, len(codes), len(buffers)) for graph in model.tables(2)]
    found = {}
    for signature in model.tables(7):
        place = check_index(signature.number(4, "I"), len(graphs), "subgraph")
        found[signature.text(2)] = SignatureTensors(
            _mapped(signature, 0, graphs[place]), _mapped(signature, 1, graphs[place])
        )
    if not found:
        raise BrokenFile("it has no signatures")
    return found


def _buffer(data: FlatBytes, buffer: FlatTable) -> range:
    offset, size = buffer.number(1, "Q"), buffer.number(2, "Q")
    if offset > 1:  # of files beyond 2 GB: the bytes follow the FlatBuffer
        data.inside(offset, size)
    return buffer.vector(0, 1)


def _subgraph(graph: FlatTable, codes: int, buffers: int) -> list[FlatTable]:
    tensors = list(graph.tables(0))
    for tensor in tensors:
        check_index(tensor.number(2, "I"), buffers, "buffer")
        tensor.text(3)
        tensor.vector(0, 4)
        tensor.table(4)
    ends = [*graph.numbers(1, "i"), *graph.numbers(2, "i")]
    for operator in graph.tables(3):
        check_index(operator.number(0, "I"), codes, "operator code")
        operator.table(4)
        ends += [place for place in operator.numbers(1, "i") if place != -1]  # -1: left out
        ends += operator.numbers(2, "i")
    for place in ends:
        check_index(place, len(tensors), "tensor")
    return tensors


def _mapped(signature: FlatTable, field: int, tensors: list[FlatTable]) -> tuple[TfliteTensor, ...]:
    places = {
        entry.text(0): check_index(entry.number(1, "I"), len(tensors), "tensor")
        for entry in signature.tables(field)
    }
    return tuple(_tensor(name, places[name], tensors[places[name]]) for name in in_order(places))


def _tensor(name: str, index: int, tensor: FlatTable) -> TfliteTensor:
    kind = tensor.number(1, "b")
    if kind not in _DTYPES:
        raise BrokenFile(f"tensor {name!r} has type {kind}, which is no number")
    dtype = np.dtype(_DTYPES[kind])
    quantization = tensor.table(4)
    scales = _floats(quantization, 2) if quantization else []
    zeros = quantization.numbers(3, "q") if quantization else []
    affine = Affine(dtype, scales[0], zeros[0]) if len(scales) == len(zeros) == 1 else Affine(dtype)
    return TfliteTensor(name, index, tuple(tensor.numbers(0, "i")), affine)


def _floats(table: FlatTable, field: int) -> list[float]:
    return [struct.unpack("<f", struct.pack("<I", bits))[0] for bits in table.numbers(field, "I")]

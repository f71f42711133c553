"""The structure of a `.tflite`: read with every offset checked, before a runtime trusts it.

A `.tflite` is a FlatBuffer (https://flatbuffers.dev/internals/) of the schema
https://github.com/google-ai-edge/LiteRT/blob/main/tflite/converter/schema/schema.fbs.
LiteRT's C API follows its offsets unchecked and ends the process on a file that was cut short; here
that is an `IntegrityFault`. Everything up to the operators' operands is checked, their options are
not: that a byte of a weight or an option is another one, only the bundle's hash can say.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headtail.errors import IntegrityFault, TensorMismatch
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


class _Broken(Exception):
    """An offset, a length or an index that points nowhere."""


def read_tflite(path: Path) -> dict[str, SignatureTensors]:
    """The signatures of a file whose structure is whole; raises `IntegrityFault` otherwise."""
    try:
        with (
            path.open("rb") as file,
            closing(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) as data,
        ):
            return _signatures(_Bytes(data))
    except _Broken as error:
        raise _refusal(path, str(error)) from None
    except ValueError:  # of mmap: nothing to map
        raise _refusal(path, "it is empty") from None
    except OSError as error:
        raise _refusal(path, error.strerror or "it cannot be opened") from None


def _refusal(path: Path, why: str) -> IntegrityFault:
    return IntegrityFault(
        f"{path.name} is not a whole .tflite file: {why}.",
        file=path.name,
        expected="A complete .tflite file with signatures.",
        remedy="Export the model again, or download it again.",
    )


class _Bytes:
    """Numbers at checked places of the file."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.size = len(data)

    def number(self, code: str, place: int) -> int:
        """The number of struct code `code` at `place`."""
        width = struct.calcsize(code)
        self.inside(place, width)
        value: int = struct.unpack_from(f"<{code}", self.data, place)[0]
        return value

    def inside(self, place: int, length: int) -> None:
        """Raise unless `length` bytes from `place` are in the file."""
        if place < 0 or length < 0 or place + length > self.size:
            raise _Broken(f"{length} bytes at {place} are beyond its {self.size} bytes")


class _Table:
    """A FlatBuffer table; a field is asked for by its number in the schema."""

    def __init__(self, data: _Bytes, place: int) -> None:
        self._data = data
        self._place = place
        self._vtable = place - data.number("i", place)
        self._length = data.number("H", self._vtable)
        data.inside(self._vtable, self._length)
        data.inside(place, data.number("H", self._vtable + 2))

    def number(self, field: int, code: str) -> int:
        """A number; 0 where it is not stored."""
        place = self._field(field)
        return self._data.number(code, place) if place else 0

    def table(self, field: int) -> _Table | None:
        """A table, if it is there."""
        place = self._pointed(field)
        return _Table(self._data, place) if place else None

    def vector(self, field: int, width: int) -> range:
        """The places of a vector's elements of `width` bytes; empty where it is not stored."""
        place = self._pointed(field)
        if not place:
            return range(0)
        count = self._data.number("I", place)
        self._data.inside(place + 4, count * width)
        return range(place + 4, place + 4 + count * width, width)

    def numbers(self, field: int, code: str) -> list[int]:
        """A vector of numbers."""
        width = struct.calcsize(f"<{code}")
        return [self._data.number(code, place) for place in self.vector(field, width)]

    def tables(self, field: int) -> Iterator[_Table]:
        """A vector of tables."""
        for place in self.vector(field, 4):
            yield _Table(self._data, place + self._data.number("I", place))

    def text(self, field: int) -> str:
        """A string; empty where it is not stored."""
        places = self.vector(field, 1)
        try:
            return self._data.data[places.start : places.stop].decode() if places else ""
        except UnicodeDecodeError:
            raise _Broken(f"the name at {places.start} is not UTF-8") from None

    def _field(self, field: int) -> int:
        entry = 4 + 2 * field
        if entry + 2 > self._length:
            return 0
        offset = self._data.number("H", self._vtable + entry)
        return self._place + offset if offset else 0

    def _pointed(self, field: int) -> int:
        place = self._field(field)
        return place + self._data.number("I", place) if place else 0


def _signatures(data: _Bytes) -> dict[str, SignatureTensors]:
    if data.size < 8 or data.data[4:8] != IDENTIFIER:
        raise _Broken(f"it does not say {IDENTIFIER.decode()} at byte 4")
    model = _Table(data, data.number("I", 0))
    codes = [(code.text(1), code) for code in model.tables(1)]
    buffers = [_buffer(data, buffer) for buffer in model.tables(4)]
    for metadata in model.tables(6):
        _index(metadata.number(1, "I"), len(buffers), "buffer")
    graphs = [_subgraph(graph, len(codes), len(buffers)) for graph in model.tables(2)]
    found = {}
    for signature in model.tables(7):
        place = _index(signature.number(4, "I"), len(graphs), "subgraph")
        found[signature.text(2)] = SignatureTensors(
            _mapped(signature, 0, graphs[place]), _mapped(signature, 1, graphs[place])
        )
    if not found:
        raise _Broken("it has no signatures")
    return found


def _buffer(data: _Bytes, buffer: _Table) -> range:
    offset, size = buffer.number(1, "Q"), buffer.number(2, "Q")
    if offset > 1:  # of files beyond 2 GB: the bytes follow the FlatBuffer
        data.inside(offset, size)
    return buffer.vector(0, 1)


def _subgraph(graph: _Table, codes: int, buffers: int) -> list[_Table]:
    tensors = list(graph.tables(0))
    for tensor in tensors:
        _index(tensor.number(2, "I"), buffers, "buffer")
        tensor.text(3)
        tensor.vector(0, 4)
        tensor.table(4)
    ends = [*graph.numbers(1, "i"), *graph.numbers(2, "i")]
    for operator in graph.tables(3):
        _index(operator.number(0, "I"), codes, "operator code")
        operator.table(4)
        ends += [place for place in operator.numbers(1, "i") if place != -1]  # -1: left out
        ends += operator.numbers(2, "i")
    for place in ends:
        _index(place, len(tensors), "tensor")
    return tensors


def _mapped(signature: _Table, field: int, tensors: list[_Table]) -> tuple[TfliteTensor, ...]:
    places = {
        entry.text(0): _index(entry.number(1, "I"), len(tensors), "tensor")
        for entry in signature.tables(field)
    }
    return tuple(_tensor(name, places[name], tensors[places[name]]) for name in in_order(places))


def _tensor(name: str, index: int, tensor: _Table) -> TfliteTensor:
    kind = tensor.number(1, "b")
    if kind not in _DTYPES:
        raise _Broken(f"tensor {name!r} has type {kind}, which is no number")
    dtype = np.dtype(_DTYPES[kind])
    quantization = tensor.table(4)
    scales = _floats(quantization, 2) if quantization else []
    zeros = quantization.numbers(3, "q") if quantization else []
    affine = Affine(dtype, scales[0], zeros[0]) if len(scales) == len(zeros) == 1 else Affine(dtype)
    return TfliteTensor(name, index, tuple(tensor.numbers(0, "i")), affine)


def _floats(table: _Table, field: int) -> list[float]:
    return [struct.unpack("<f", struct.pack("<I", bits))[0] for bits in table.numbers(field, "I")]


def _index(place: int, count: int, kind: str) -> int:
    if not 0 <= place < count:
        raise _Broken(f"it names {kind} {place} of {count}")
    return place

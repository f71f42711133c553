"""Named tensors in one file: our own reader and writer of the safetensors format.

    8 bytes   N, little-endian u64: length of the header
    N bytes   UTF-8 JSON {name: {"dtype", "shape", "data_offsets": [begin, end]}, ...}, spaces after
    the rest  the tensors' bytes, little-endian, row-major; offsets count from here

The format: https://github.com/huggingface/safetensors#format. Own, because a phone has numpy but no
wheel of the reference implementation; the tests hold both against each other. What is refused:
a header over `MAX_HEADER_BYTES`, duplicate keys, holes, overlaps, bytes that no tensor covers,
lengths that do not fit dtype and shape, dtypes that no runtime here speaks, a bool that is not 0
or 1. `__metadata__` is text to text. The writer is deterministic: wide dtypes first (so that every
tensor lies aligned), then by name; the header padded with spaces to a multiple of 8.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from headtail.errors import IntegrityFault, SchemaFault, TooLarge, UnknownName
from headtail.strictjson import parse as parse_json
from headtail.tensors import DTYPES, MAX_RANK, Array, TensorSpec

__all__ = ["MAX_HEADER_BYTES", "TensorFile", "dump", "parse", "read_tensors", "write_tensors"]

MAX_HEADER_BYTES = 8 << 20  # some 80,000 tensors; the reference allows 100 MB
METADATA = "__metadata__"
PREFIX = 8  # bytes of the length field
_SHORT = {short.upper(): short for short in DTYPES}  # safetensors writes F32 where we say f32
_KEYS = {"dtype", "shape", "data_offsets"}
_REMEDY = "Fetch or write the file again."


class TensorFile(NamedTuple):
    """What a file holds. The arrays are read-only views of the bytes it was parsed from."""

    tensors: dict[str, Array]
    metadata: dict[str, str]


class _Extent(NamedTuple):
    begin: int
    end: int
    spec: TensorSpec


def write_tensors(
    path: Path, tensors: Mapping[str, Array], *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write `tensors` to `path`. Raises `UnknownName` for a dtype outside `headtail.tensors`."""
    chunks = list(_chunks(tensors, metadata or {}))  # all checks before the file exists
    with path.open("wb") as file:
        file.writelines(chunks)


def dump(tensors: Mapping[str, Array], *, metadata: Mapping[str, str] | None = None) -> bytes:
    """The bytes of the file that `write_tensors` would write."""
    return b"".join(_chunks(tensors, metadata or {}))


def read_tensors(path: Path) -> dict[str, Array]:
    """Name -> read-only array. A malformed file is an `IntegrityFault` (lengths), `SchemaFault`
    (header), `UnknownName` (dtype) or `TooLarge` (header over its limit)."""
    return parse(path.read_bytes(), file=path.name).tensors


def parse(data: bytes, *, file: str = "the tensor file") -> TensorFile:
    """Bytes to tensors without copying them; `file` is the name that errors carry."""
    header, start = _header(data, file)
    metadata = _metadata(header.pop(METADATA, {}))
    extents = [_extent(name, entry) for name, entry in header.items()]
    extents.sort(key=lambda extent: (extent.begin, extent.end))
    _check_cover(extents, len(data) - start, file)
    return TensorFile({e.spec.name: _view(data, start, e, file) for e in extents}, metadata)


def _chunks(tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> Iterator[bytes]:
    header: dict[str, Any] = {METADATA: dict(sorted(metadata.items()))} if metadata else {}
    bodies, offset = [], 0
    for name, array in sorted(tensors.items(), key=lambda kv: (-kv[1].dtype.itemsize, kv[0])):
        if name == METADATA:
            raise SchemaFault(f"{METADATA} is no tensor name", "$", remedy="Rename the tensor.")
        spec = TensorSpec.of(name, array)
        end = offset + spec.nbytes
        header[name] = {
            "dtype": spec.dtype.upper(),
            "shape": list(spec.shape),
            "data_offsets": [offset, end],
        }
        little = array.astype(spec.numpy_dtype.newbyteorder("<"), copy=False)
        bodies.append(little.tobytes())
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    text += b" " * (-len(text) % PREFIX)
    if len(text) > MAX_HEADER_BYTES:
        raise _header_too_large(len(text), "The tensor file")
    yield len(text).to_bytes(PREFIX, "little")
    yield text
    yield from bodies


def _header(data: bytes, file: str) -> tuple[dict[str, Any], int]:
    size = int.from_bytes(data[:PREFIX], "little")
    if size > MAX_HEADER_BYTES:
        raise _header_too_large(size, file)
    start = PREFIX + size
    if len(data) < start:
        raise IntegrityFault(
            f"{file} has {len(data)} bytes.",
            file=file,
            expected=f"{PREFIX} bytes of length and {size} bytes of header come first.",
            remedy=_REMEDY,
        )
    header = parse_json(data[PREFIX:start])
    if not isinstance(header, dict):
        raise SchemaFault(f"Expected an object, got {type(header).__name__}", "$", remedy=_REMEDY)
    return header, start


def _header_too_large(size: int, file: str) -> TooLarge:
    return TooLarge(
        f"{file} declares a header of {size} bytes.",
        expected=f"At most {MAX_HEADER_BYTES} bytes.",
        remedy="Store fewer tensors per file.",
    )


def _metadata(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise SchemaFault("Metadata is not text to text", f"$.{METADATA}", remedy=_REMEDY)
    return value


def _extent(name: str, entry: Any) -> _Extent:
    where = f"$.{name}"
    if not isinstance(entry, dict) or set(entry) != _KEYS:
        raise SchemaFault(f"Expected exactly the keys {sorted(_KEYS)}", where, remedy=_REMEDY)
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _SHORT:
        raise UnknownName(f"dtype of tensor {name}", str(dtype), _SHORT)
    if not _naturals(shape) or len(shape) > MAX_RANK:
        raise SchemaFault("The shape is not a list of sizes", f"{where}.shape", remedy=_REMEDY)
    if not _naturals(offsets, count=2):
        raise SchemaFault("Expected [begin, end]", f"{where}.data_offsets", remedy=_REMEDY)
    spec = TensorSpec(name, _SHORT[dtype], tuple(shape))
    # numpy refuses shapes whose strides overflow, even if the tensor has a zero and is empty
    if math.prod(max(size, 1) for size in shape) * spec.numpy_dtype.itemsize >= 1 << 62:
        raise SchemaFault("The shape overflows", f"{where}.shape", remedy=_REMEDY)
    return _Extent(offsets[0], offsets[1], spec)


def _naturals(value: Any, *, count: int | None = None) -> bool:
    if not isinstance(value, list) or len(value) != (len(value) if count is None else count):
        return False
    return all(type(item) is int and item >= 0 for item in value)


def _check_cover(extents: list[_Extent], available: int, file: str) -> None:
    reached = 0
    for begin, end, spec in extents:
        if begin != reached or end - begin != spec.nbytes or end > available:
            raise IntegrityFault(
                f"{file}: {spec} lies at [{begin}, {end}).",
                file=file,
                expected=f"{spec.nbytes} bytes from {reached} on, within {available} of data.",
                remedy=_REMEDY,
            )
        reached = end
    if reached != available:
        raise IntegrityFault(
            f"{file} has {available} bytes of data.",
            file=file,
            expected=f"Its tensors cover exactly {reached}.",
            remedy=_REMEDY,
        )


def _view(data: bytes, start: int, extent: _Extent, file: str) -> Array:
    spec = extent.spec
    dtype = spec.numpy_dtype.newbyteorder("<")
    flat = np.frombuffer(data, dtype, count=spec.elements, offset=start + extent.begin)
    if spec.dtype == "bool" and flat.view(np.uint8).max(initial=0) > 1:
        raise IntegrityFault(
            f"{file}: {spec} holds a byte that is neither 0 nor 1.",
            file=file,
            expected="A bool is one byte, 0 or 1.",
            remedy=_REMEDY,
        )
    return flat.reshape(spec.shape)

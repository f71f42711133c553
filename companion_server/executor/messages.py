"""What the web process and an executor say to each other: one JSON head, then raw tensors.

    offset  size
    0       4     length of the JSON, little endian
    4       8     length of the tensors' bytes
    12            JSON: {"id": int, ..., "arrays": [[dtype, [sizes]], ...]}, then the tensors, dense

The line is a Unix socket in a folder that only this user may enter, or a socket pair: both ends are
this program, of one version. Lengths are checked all the same, so that a fault is found here and
not in a tensor.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headtail.errors import WireFault
from headtail.tensors import Array

__all__ = ["PREFIX", "Buffer", "lengths", "pack", "unpack"]

Buffer = bytes | bytearray | memoryview
PREFIX = struct.Struct("<IQ")
_TO_JSON = json.JSONEncoder(separators=(",", ":"))
_FROM_JSON = json.JSONDecoder()
MAX_JSON_BYTES = 64 << 20
MAX_TENSOR_BYTES = 8 << 30


def pack(head: Mapping[str, Any], arrays: Sequence[Array] = ()) -> list[Buffer]:
    """A message in pieces, to be sent one behind the other; arrays are not copied."""
    dense = [np.asarray(array, order="C") for array in arrays]
    described = [[array.dtype.str, list(array.shape)] for array in dense]
    text = _TO_JSON.encode({**head, "arrays": described}).encode()
    # reshaped, because a memoryview with a size of 0 among its axes cannot be cast
    views = [array.reshape(-1).view(np.uint8).data for array in dense if array.size]
    return [PREFIX.pack(len(text), sum(view.nbytes for view in views)), text, *views]


def lengths(prefix: Buffer) -> tuple[int, int]:
    """Lengths of the JSON and of the tensors, from a message's first `PREFIX.size` bytes."""
    json_bytes, tensor_bytes = PREFIX.unpack(prefix)
    if json_bytes > MAX_JSON_BYTES or tensor_bytes > MAX_TENSOR_BYTES:
        raise _broken(f"says {json_bytes} bytes of JSON and {tensor_bytes} of tensors")
    return json_bytes, tensor_bytes


def unpack(text: Buffer, tensors: Buffer) -> tuple[dict[str, Any], list[Array]]:
    """The head and its arrays, which are views of `tensors` (writable if that is)."""
    head, _ = _FROM_JSON.raw_decode(str(text, "ascii"))  # `loads` guesses at encodings first
    arrays, offset = [], 0
    for kind, shape in head.pop("arrays"):
        dtype = np.dtype(kind)
        count = math.prod(shape)
        if offset + count * dtype.itemsize > len(tensors):
            raise _broken("ends inside a tensor")
        array = np.frombuffer(tensors, dtype, count, offset) if count else np.empty(0, dtype)
        arrays.append(array.reshape(shape))
        offset += count * dtype.itemsize
    if offset != len(tensors):
        raise _broken(f"has {len(tensors) - offset} bytes that belong to no tensor")
    return head, arrays


def _broken(what: str) -> WireFault:
    return WireFault(
        f"A message between server and executor {what}.",
        expected="Both are of one version.",
        remedy="Restart the server.",
    )

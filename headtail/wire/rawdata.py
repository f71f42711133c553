"""A tensor as raw bytes: dense, row-major, little endian; and tensors of text, as BYTES.

Text is an array of `str` objects here and goes out only: no model takes or gives it, but a
classification is made of it. One element is its length in 4 bytes, little endian, and its UTF-8:
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import struct

import numpy as np

from headtail.errors import WireFault
from headtail.tensors import DTYPES, Array, TensorSpec, oip_datatype

__all__ = ["array_from_raw", "datatype_of", "is_text", "raw_bytes"]

_LITTLE = {name: np.dtype(known).newbyteorder("<") for name, (known, _) in DTYPES.items()}


def is_text(array: Array) -> bool:
    """Whether the elements are `str` objects."""
    return array.dtype.hasobject


def datatype_of(array: Array) -> str:
    """The Open Inference Protocol datatype of an array."""
    return "BYTES" if is_text(array) else oip_datatype(TensorSpec.of("", array))


def raw_bytes(array: Array) -> bytes:
    """An array's raw bytes."""
    if is_text(array):
        texts = [str(item).encode() for item in array.reshape(-1)]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def array_from_raw(data: memoryview, spec: TensorSpec) -> Array:
    """A view of `spec.nbytes` raw bytes, perhaps unaligned and read-only.

    Raises `WireFault` for a BOOL that is neither 0 nor 1.
    """
    array = np.frombuffer(data, _LITTLE[spec.dtype])
    if spec.dtype == "bool" and (array.view(np.uint8) > 1).any():
        raise WireFault(
            f"A BOOL of {spec.name!r} is neither 0 nor 1.",
            expected="One byte for each boolean, 0 or 1.",
            remedy="Send the values as numpy's bool array has them.",
        )
    return array.astype(spec.numpy_dtype, copy=False).reshape(spec.shape)

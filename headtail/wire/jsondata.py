"""A tensor's `data` in a JSON message to an array, exactly or not at all.

Nested or flat lists are both allowed by the protocol. Integers and booleans must fit their
datatype; floats are rounded to theirs, but never to infinity.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from headtail.errors import TensorMismatch, WireFault
from headtail.tensors import Array, TensorSpec

__all__ = ["array_from_json"]


def array_from_json(data: list[Any], spec: TensorSpec) -> Array:
    """Parsed JSON to an array of the spec's dtype and shape.

    Raises `TensorMismatch` for another number of values, ragged lists and values of another kind or
    out of range, `WireFault` for FP16, which JSON does not carry.
    """
    if spec.dtype == "f16":
        raise WireFault(
            f"{spec.name!r} came as FP16 in JSON.",
            expected="FP16 travels as binary only.",
            remedy="Send it behind the JSON, with binary_data_size.",
        )
    try:
        array = _parsed(data, spec)
        if array.size and array.dtype.kind not in _kinds(spec):
            raise _unfit(spec, f"it parses to {array.dtype.name}")
        with np.errstate(over="raise", invalid="raise"):
            made = array.astype(spec.numpy_dtype)
        if not spec.dtype.startswith("f") and not (made == array).all():
            raise _unfit(spec, "a value is out of range")
        return made.reshape(spec.shape)
    except (ValueError, OverflowError, FloatingPointError) as error:
        raise _unfit(spec, str(error)[:200]) from None


def _parsed(data: list[Any], spec: TensorSpec) -> Array:
    array: Array = np.array(data)
    if spec.dtype != "u64" or array.dtype.kind != "f":
        return array
    # numpy makes floats, which round, of a list with integers both above and below 2^63
    exact = np.array(data, object)
    if not all(type(value) is int and 0 <= value < 1 << 64 for value in exact.flat):
        return array
    return exact.astype(np.uint64)


def _kinds(spec: TensorSpec) -> str:
    """Numpy kinds that JSON values of a datatype may parse to."""
    if spec.dtype == "bool":
        return "b"
    return "iuf" if spec.dtype.startswith("f") else "iu"


def _unfit(spec: TensorSpec, why: str) -> TensorMismatch:
    return TensorMismatch(
        f"The data of {spec.name!r} does not fit: {why}.",
        expected=f"{spec} takes {spec.elements} values.",
        remedy="Send row-major values of that datatype.",
    )

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

    Raises `TensorMismatch` for another number of values, lists that nest otherwise than the shape
    and values of another kind or out of range, `WireFault` for FP16, which JSON does not carry.
    """
    if spec.dtype == "f16":
        raise WireFault(
            f"{spec.name!r} came as FP16 in JSON.",
            expected="FP16 travels as binary only.",
            remedy="Send it behind the JSON, with binary_data_size.",
        )
    values = _flat(data, spec)
    if len(values) != spec.elements:
        raise _unfit(spec, f"it has {len(values)} values")
    # before numpy sees them: among numbers, one long string would make every value as long
    found = {type(value) for value in values}
    if not found <= _kinds(spec):
        raise _unfit(spec, f"it holds {', '.join(sorted(kind.__name__ for kind in found))}")
    try:
        return _made(values, spec).reshape(spec.shape)
    except (OverflowError, FloatingPointError):
        raise _unfit(spec, "a value is out of range") from None


def _flat(data: list[Any], spec: TensorSpec) -> list[Any]:
    """The values row-major; lists inside lists must nest as the shape does."""
    if not any(isinstance(item, list) for item in data):
        return data
    rows: list[Any] = [data]
    for size in spec.shape:
        if any(not isinstance(row, list) or len(row) != size for row in rows):
            raise _unfit(spec, "its lists do not nest as the shape does")
        rows = [item for row in rows for item in row]
    return rows


def _made(values: list[Any], spec: TensorSpec) -> Array:
    """Raises `OverflowError` or `FloatingPointError` for a value beyond the dtype."""
    if spec.dtype.startswith("f"):
        wide = np.array(values, np.float64)
        if not np.isfinite(wide).all():  # what JSON's 1e999 parses to
            raise OverflowError
        with np.errstate(over="raise"):
            return wide.astype(spec.numpy_dtype)
    if spec.dtype != "bool" and values:
        limits = np.iinfo(spec.numpy_dtype.name)
        if min(values) < limits.min or max(values) > limits.max:
            raise OverflowError
    return np.array(values, spec.numpy_dtype)


def _kinds(spec: TensorSpec) -> set[type]:
    """What the JSON values of a datatype parse to."""
    if spec.dtype == "bool":
        return {bool}
    return {int, float} if spec.dtype.startswith("f") else {int}


def _unfit(spec: TensorSpec, why: str) -> TensorMismatch:
    return TensorMismatch(
        f"The data of {spec.name!r} does not fit: {why}.",
        expected=f"{spec} takes {spec.elements} values.",
        remedy="Send row-major values of that datatype.",
    )

"""Between the manifest's tensors and those of a `.tflite`: their order, and int8 at the border.

Tensors are ordered by the number in their signature name (`args_0`, `output_0`), which is how
litert-torch writes them. Fully int8 files take and give int8; the affine parameters are in the
file, so the adapters convert at the border and the caller sees the manifest's dtypes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from headtail.tensors import Array, TensorSpec

__all__ = ["Affine", "in_order", "quantized", "real"]


@dataclass(frozen=True)
class Affine:
    """A tensor's own dtype, and real = scale * (code - zero); with scale 0 it is not quantized."""

    dtype: np.dtype[Any]
    scale: float = 0.0
    zero: int = 0


def in_order(names: Iterable[str]) -> list[str]:
    """Signature names in the manifest's order: by the number that ends them."""

    def number(name: str) -> tuple[int, str]:
        digits = re.findall(r"\d+", name)
        return (int(digits[-1]) if digits else 0, name)

    return sorted(names, key=number)


def quantized(array: Array, affine: Affine) -> Array:
    """`array` as the file takes it, contiguous; values beyond the range are clipped."""
    if array.dtype == affine.dtype or not affine.scale:
        return np.ascontiguousarray(array)
    limits = np.iinfo(affine.dtype)
    reals = np.asarray(array, np.float64)
    codes = np.clip(np.round(reals / affine.scale) + affine.zero, limits.min, limits.max)
    stored: Array = codes.astype(affine.dtype)
    return stored


def real(array: Array, affine: Affine, spec: TensorSpec) -> Array:
    """`array` as the manifest declares it; codes become reals."""
    if array.dtype != spec.numpy_dtype and affine.scale:
        reals = (array.astype(np.float32) - affine.zero) * np.float32(affine.scale)
        return reals.astype(spec.numpy_dtype)
    return array

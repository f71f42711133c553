"""What a tensor is called, made of and shaped like: the one dtype table everybody shares.

Open Inference Protocol names come from the v2 specification's table of tensor data types
(https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headtail.errors import TensorMismatch, UnknownName

__all__ = [
    "DTYPES",
    "Array",
    "TensorSpec",
    "check_array",
    "check_arrays",
    "dtype_of_oip",
    "oip_datatype",
    "short_dtype",
]

Array = npt.NDArray[np.generic]

# short name -> (numpy dtype name, Open Inference Protocol datatype)
DTYPES: dict[str, tuple[str, str]] = {
    "f32": ("float32", "FP32"),
    "f16": ("float16", "FP16"),
    "f64": ("float64", "FP64"),
    "i8": ("int8", "INT8"),
    "i16": ("int16", "INT16"),
    "i32": ("int32", "INT32"),
    "i64": ("int64", "INT64"),
    "u8": ("uint8", "UINT8"),
    "u16": ("uint16", "UINT16"),
    "u32": ("uint32", "UINT32"),
    "u64": ("uint64", "UINT64"),
    "bool": ("bool", "BOOL"),
}
_SHORT = {numpy_name: short for short, (numpy_name, _) in DTYPES.items()}
_NUMPY = {short: np.dtype(numpy_name) for short, (numpy_name, _) in DTYPES.items()}
_NATIVE = {dtype: short for short, dtype in _NUMPY.items()}
_OF_OIP = {datatype: short for short, (_, datatype) in DTYPES.items()}
MAX_RANK = 16


@dataclass(frozen=True)
class TensorSpec:
    """Name, dtype (a key of `DTYPES`) and static shape of one tensor; batch first."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise UnknownName("dtype", self.dtype, DTYPES)
        if len(self.shape) > MAX_RANK or min(self.shape, default=0) < 0:
            raise TensorMismatch(
                f"Tensor {self.name!r} has shape {list(self.shape)}.",
                expected=f"A shape has at most {MAX_RANK} sizes, none negative.",
                remedy="Correct the shape.",
            )

    @property
    def numpy_dtype(self) -> np.dtype[np.generic]:
        """The numpy dtype, native byte order."""
        return _NUMPY[self.dtype]

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size in bytes when dense."""
        return self.elements * self.numpy_dtype.itemsize

    def __str__(self) -> str:
        return f"{self.name}:{self.dtype}[{','.join(map(str, self.shape))}]"

    @classmethod
    def of(cls, name: str, array: Array) -> TensorSpec:
        """The spec of an existing array."""
        return cls(name, short_dtype(array.dtype), tuple(array.shape))


def short_dtype(dtype: np.dtype[np.generic]) -> str:
    """`float32` -> `f32`; raises `UnknownName` for dtypes that no runtime here speaks."""
    if dtype in _NATIVE:
        return _NATIVE[dtype]
    name = dtype.name  # numpy computes it anew each time; of either byte order
    if name not in _SHORT:
        raise UnknownName("dtype", name, _SHORT)
    return _SHORT[name]


def oip_datatype(spec: TensorSpec) -> str:
    """The Open Inference Protocol datatype, for example `FP32`."""
    return DTYPES[spec.dtype][1]


def dtype_of_oip(datatype: str) -> str:
    """`FP32` -> `f32`."""
    if datatype not in _OF_OIP:
        raise UnknownName("datatype", datatype, _OF_OIP)
    return _OF_OIP[datatype]


def check_array(array: Array, spec: TensorSpec) -> None:
    """Raise `TensorMismatch` unless `array` has exactly the dtype and shape of `spec`."""
    if array.dtype != spec.numpy_dtype or tuple(array.shape) != spec.shape:
        raise TensorMismatch(
            f"Tensor {spec.name!r} is {array.dtype.name}{list(array.shape)}.",
            expected=f"It must be {spec.numpy_dtype.name}{list(spec.shape)}.",
            remedy="Send the tensor as the manifest describes it.",
        )


def check_arrays(arrays: Sequence[Array], specs: Sequence[TensorSpec]) -> None:
    """`check_array` for a whole list; raises `TensorMismatch` for another number of arrays too."""
    if len(arrays) != len(specs):
        raise TensorMismatch(
            f"{len(arrays)} tensors were given.",
            expected=f"There must be {len(specs)}: {', '.join(map(str, specs))}.",
            remedy="Pass one array per tensor, in that order.",
        )
    for array, spec in zip(arrays, specs, strict=True):
        check_array(array, spec)

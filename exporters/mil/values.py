"""MIL types, and values as torch tensors, sub-byte ones included; lists and states.

How a value is carried while a program is evaluated: every float type as torch.float32 (a float16
value is a float32 that has been rounded to float16), bool as torch.bool, integers as the narrowest
torch type that holds them; int4 as int8, uint1 to uint6 as uint8, uint16 as int32, uint32 as int64.
The numbers of the types are `DataType` in https://apple.github.io/coremltools/mlmodel/Format/MIL.html.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch

from exporters.mil.package import Bytes, Package
from headtail.errors import ConversionFailed, IntegrityFault

__all__ = [
    "MIL_TYPES",
    "DictionaryType",
    "ListType",
    "MilType",
    "StateCell",
    "StateType",
    "TensorList",
    "TensorType",
    "Value",
    "ValueType",
    "constant",
    "tensor_type",
    "unpack_bits",
    "value_type",
]

Category = Literal["float", "int", "bool", "string"]
BYTE_BITS = 8
MAX_RANK = 16
MAX_ELEMENTS = 1 << 31  # 8 GB of float32: more is a damaged file, and torch would try to allocate
MAX_SUBBYTE_BITS = 7


@dataclass(frozen=True)
class MilType:
    """One MIL data type. `blob_code` is its code in a blob record, 0 where blobs cannot hold it."""

    name: str
    category: Category
    bits: int
    carried: torch.dtype | None
    blob_code: int = 0


# DataType number -> type
MIL_TYPES: dict[int, MilType] = {
    1: MilType("bool", "bool", 8, torch.bool),
    2: MilType("string", "string", 0, None),
    10: MilType("fp16", "float", 16, torch.float32, 1),
    11: MilType("fp32", "float", 32, torch.float32, 2),
    21: MilType("int8", "int", 8, torch.int8, 4),
    22: MilType("int16", "int", 16, torch.int16, 6),
    23: MilType("int32", "int", 32, torch.int32, 14),
    24: MilType("int64", "int", 64, torch.int64),
    25: MilType("int4", "int", 4, torch.int8, 8),
    31: MilType("uint8", "int", 8, torch.uint8, 3),
    32: MilType("uint16", "int", 16, torch.int32, 7),
    33: MilType("uint32", "int", 32, torch.int64, 15),
    35: MilType("uint4", "int", 4, torch.uint8, 11),
    36: MilType("uint2", "int", 2, torch.uint8, 10),
    37: MilType("uint1", "int", 1, torch.uint8, 9),
    38: MilType("uint6", "int", 6, torch.uint8, 13),
    39: MilType("uint3", "int", 3, torch.uint8, 12),
}

# How whole-byte types lie in memory, little endian.
STORED = {
    "bool": "<?", "fp16": "<f2", "fp32": "<f4", "int8": "<i1", "int16": "<i2", "int32": "<i4",
    "int64": "<i8", "uint8": "<u1", "uint16": "<u2", "uint32": "<u4",
}  # fmt: skip


@dataclass(frozen=True)
class TensorType:
    """A declared type: `shape` has None for a size that is unknown; None itself means any rank."""

    dtype: MilType
    shape: tuple[int | None, ...] | None

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Does a tensor of `shape` fit?"""
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            want is None or want == got for want, got in zip(self.shape, shape, strict=True)
        )

    def __str__(self) -> str:
        sizes = "..." if self.shape is None else ",".join(str(s or "?") for s in self.shape)
        return f"{self.dtype.name}[{sizes}]"


@dataclass(frozen=True)
class ListType:
    """A list of tensors. The declared length is where it starts; a list may grow."""

    element: TensorType

    def __str__(self) -> str:
        return f"list<{self.element}>"


@dataclass(frozen=True)
class StateType:
    """A tensor that outlives a run."""

    wrapped: TensorType

    def __str__(self) -> str:
        return f"state<{self.wrapped}>"


@dataclass(frozen=True)
class DictionaryType:
    """Class labels and their probabilities; `key` is string or int."""

    key: Category

    def __str__(self) -> str:
        return f"dictionary<{self.key}>"


@dataclass(frozen=True)
class TensorList:
    """A list value, never changed in place. `shape` has None where the elements may differ.

    An element nobody has written yet is None and reads as zeros.
    """

    items: tuple[torch.Tensor | None, ...]
    shape: tuple[int | None, ...]
    dtype: MilType
    grows: bool


@dataclass
class StateCell:
    """One state; the only value that is changed in place."""

    kind: StateType
    tensor: torch.Tensor


ValueType = TensorType | ListType | StateType | DictionaryType
Value: TypeAlias = (
    "torch.Tensor | str | TensorList | StateCell | Mapping[str | int, float] | tuple[Value, ...]"
)


def value_type(proto: Any, package: Package) -> ValueType:
    """The declared type of a proto `ValueType`."""
    kind = proto.WhichOneof("type")
    if kind == "listType":
        return ListType(tensor_type(proto.listType.type, package))
    if kind == "stateType":
        return StateType(tensor_type(proto.stateType.wrappedType, package))
    if kind == "dictionaryType":
        return DictionaryType(tensor_type(proto.dictionaryType.keyType, package).dtype.category)
    return tensor_type(proto, package)


def tensor_type(proto: Any, package: Package) -> TensorType:
    """The `TensorType` of a proto `ValueType`."""
    kind = proto.WhichOneof("type")
    number = proto.tensorType.dataType if kind == "tensorType" else 0
    if number not in MIL_TYPES:
        raise ConversionFailed(
            f"{package.path} has a value of {kind} with data type number {number}.",
            expected=f"Tensors of {', '.join(t.name for t in MIL_TYPES.values())} can be read.",
            remedy="Check this file with Core ML on a Mac.",
        )
    dimensions = proto.tensorType.dimensions
    if any(d.unknown.variadic for d in dimensions):
        return TensorType(MIL_TYPES[number], None)
    if len(dimensions) != proto.tensorType.rank or len(dimensions) > MAX_RANK:
        raise package.fault(
            f"a type lists {len(dimensions)} sizes and has rank {proto.tensorType.rank}.",
            f"Both numbers are equal and at most {MAX_RANK}.",
        )
    known = tuple(
        d.constant.size if d.WhichOneof("dimension") == "constant" else None for d in dimensions
    )
    sizes = [size for size in known if size]
    if max(sizes, default=0) > MAX_ELEMENTS or math.prod(sizes) > MAX_ELEMENTS:
        raise package.fault(
            f"a type has the sizes {list(known)}.", f"A tensor has at most {MAX_ELEMENTS} elements."
        )
    return TensorType(MIL_TYPES[number], known)


def constant(proto: Any, package: Package) -> tuple[Value, ValueType]:
    """A proto `Value` (immediate or in a blob file) as a carried tensor, a string or a list."""
    if proto.type.WhichOneof("type") == "listType":
        items = (constant(v, package)[0] for v in proto.immediateValue.list.values)
        return tuple(items), value_type(proto.type, package)
    declared = tensor_type(proto.type, package)
    if declared.dtype.category == "string":
        texts = proto.immediateValue.tensor.strings.values
        if len(texts) != 1:
            raise package.fault(f"a string constant has {len(texts)} values.", "It has one value.")
        return str(texts[0]), declared
    shape = _static_shape(declared, package)
    if proto.WhichOneof("value") == "blobFileValue":
        place = proto.blobFileValue
        code = declared.dtype.blob_code
        stored = package.blob(place.fileName, place.offset, code)
    else:
        stored = _immediate(proto.immediateValue.tensor, declared.dtype, package)
    try:
        return from_bytes(stored, declared.dtype, shape), declared
    except IntegrityFault as fault:
        raise package.fault(fault.what, fault.expected) from None


def from_bytes(stored: Bytes, dtype: MilType, shape: tuple[int, ...]) -> torch.Tensor:
    """Little-endian, row-major bytes as a carried tensor of `shape`, copied only to widen."""
    count = math.prod(shape)
    if stored.size != -(-count * dtype.bits // BYTE_BITS):
        raise IntegrityFault(
            f"a constant {dtype.name}{list(shape)} has {stored.size} bytes.",
            file="",
            expected=f"It takes {-(-count * dtype.bits // BYTE_BITS)} bytes.",
            remedy="",
        )
    assert dtype.carried is not None
    if dtype.name not in STORED:
        codes = unpack_bits(torch.from_numpy(stored), dtype.bits, count)
        if dtype.name == "int4":  # two's complement in four bits
            codes = ((codes.to(torch.int8) ^ 8) - 8).to(torch.int8)
        return codes.reshape(shape)
    array = stored.view(np.dtype(STORED[dtype.name]))
    if dtype.name in {"uint16", "uint32"}:  # torch computes with signed integers only
        array = array.astype(np.int64)
    return torch.from_numpy(array).to(dtype.carried).reshape(shape)


def unpack_bits(packed: torch.Tensor, bits: int, count: int) -> torch.Tensor:
    """`count` codes of `bits` bits (1 to 8), least significant bit first, as uint8 [count]."""
    if bits == BYTE_BITS:
        return packed[:count]
    if BYTE_BITS % bits == 0:  # whole codes per byte: shift and mask
        shifts = torch.arange(0, BYTE_BITS, bits, dtype=torch.uint8)
        mask = (1 << bits) - 1
        return ((packed[:, None] >> shifts) & mask).flatten()[:count]
    single = ((packed[:, None] >> torch.arange(BYTE_BITS, dtype=torch.uint8)) & 1).flatten()
    weights = 1 << torch.arange(bits, dtype=torch.uint8)
    return (single[: count * bits].reshape(count, bits) * weights).sum(1, dtype=torch.uint8)


def _static_shape(declared: TensorType, package: Package) -> tuple[int, ...]:
    sizes = declared.shape
    if sizes is None or any(size is None for size in sizes):
        raise package.fault(f"a constant is declared {declared}.", "Constants have known shapes.")
    return tuple(size for size in sizes if size is not None)


def _immediate(tensor: Any, dtype: MilType, package: Package) -> Bytes:
    """Values written inside the proto, as the bytes a blob would hold."""
    field = tensor.WhichOneof("value")
    if field == "bytes":  # 8- and 16-bit and sub-byte values
        return np.frombuffer(bytearray(tensor.bytes.values), dtype=np.uint8)
    fields = {"fp32": "floats", "bool": "bools", "int64": "longInts"}
    narrow = dtype.category == "int" and dtype.name != "int64"
    if field != ("ints" if narrow else fields.get(dtype.name)):
        raise package.fault(
            f"a {dtype.name} constant is written as {field}.", "The field fits the declared type."
        )
    numbers = np.array(getattr(tensor, field).values, dtype=np.dtype(STORED.get(dtype.name, "<i1")))
    return numbers.view(np.uint8)

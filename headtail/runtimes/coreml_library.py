"""The C interface of `ios/coreml_bridge.h`, by ctypes: numpy arrays in, numpy arrays out.

On iOS everything is linked into the app, so its symbols are found in the process itself; on macOS,
and in the tests, the bridge is a library of its own. ctypes lets other threads run during a call.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np

from headtail.errors import RuntimeUnavailable
from headtail.tensors import Array

__all__ = ["Bridge", "BridgeFault", "Feature", "Side", "Status", "open_bridge"]

ABI = 1
MAX_RANK = 16
NAME_BYTES = 256
MAX_FEATURES = 256
_TEXT_BYTES = 4096
_LINKED = (
    "Add the files of ios/ and CoreML.framework to the app in Xcode and build again (ios/README.md)"
)

# MLMultiArrayDataType -> numpy
DTYPES: dict[int, np.dtype[np.generic]] = {
    65552: np.dtype(np.float16),
    65568: np.dtype(np.float32),
    65600: np.dtype(np.float64),
    131104: np.dtype(np.int32),
}
_CODES = {dtype: code for code, dtype in DTYPES.items()}


class Status(IntEnum):
    """`headtail_coreml_status`."""

    OK = 0
    ARGUMENT = 1
    CLOSED = 2
    SYSTEM = 3
    FILE = 4
    DISK = 5
    TENSOR = 6
    PREDICTION = 7


class Side(IntEnum):
    """`headtail_coreml_side`."""

    INPUTS = 0
    OUTPUTS = 1


class BridgeFault(Exception):
    """A status other than `OK` and what the bridge said; the runtime turns it into a real error."""

    def __init__(self, status: Status, said: str) -> None:
        super().__init__(said)
        self.status = status
        self.said = said


@dataclass(frozen=True)
class Feature:
    """An input or output as Core ML describes it; `shape` is empty where the model names none."""

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]


class Text(ctypes.Structure):
    """`headtail_coreml_text`."""

    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_uint64))


class Tensor(ctypes.Structure):
    """`headtail_coreml_tensor`."""

    _fields_ = (
        ("name", ctypes.c_char * NAME_BYTES),
        ("shape", ctypes.c_int64 * MAX_RANK),
        ("rank", ctypes.c_int32),
        ("dtype", ctypes.c_int32),
        ("data", ctypes.c_void_p),
        ("bytes", ctypes.c_uint64),
    )


_SIGNATURES: dict[str, tuple[type, ...]] = {
    "abi": (),
    "system": (ctypes.POINTER(ctypes.c_int32), ctypes.POINTER(Text)),
    "footprint": (ctypes.POINTER(ctypes.c_uint64),),
    "compile": (
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_int32,
        ctypes.POINTER(Text),
        ctypes.POINTER(Text),
    ),
    "open": (
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_int32,
        ctypes.POINTER(ctypes.c_int64),
        ctypes.POINTER(Text),
    ),
    "describe": (
        ctypes.c_int64,
        ctypes.c_int32,
        ctypes.POINTER(Tensor),
        ctypes.POINTER(ctypes.c_int32),
        ctypes.POINTER(Text),
    ),
    "predict": (
        ctypes.c_int64,
        ctypes.POINTER(Tensor),
        ctypes.c_int32,
        ctypes.POINTER(Tensor),
        ctypes.c_int32,
        ctypes.POINTER(Text),
    ),
    "close": (ctypes.c_int64, ctypes.POINTER(Text)),
}


def open_bridge(library: Path | None) -> Bridge:
    """The bridge in this process (None) or in a library; `RuntimeUnavailable` says what to do."""
    try:
        loaded = ctypes.CDLL(None if library is None else str(library))
    except (OSError, TypeError) as error:  # Windows has no process-wide table: a TypeError
        raise RuntimeUnavailable(
            f"The Core ML bridge cannot be loaded: {error}.",
            expected="It is a library for this system, or linked into the app.",
            remedy=f"{_LINKED}.",
        ) from error
    try:
        return Bridge(loaded)
    except AttributeError:
        raise RuntimeUnavailable(
            f"The Core ML bridge is not in {library.name if library else 'this app'}.",
            expected="Core ML exists on iOS and macOS, and is reached through the bridge in ios/.",
            remedy=f"{_LINKED}.",
        ) from None


class Bridge:
    """Every method may raise `BridgeFault`."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._calls = {}
        for name, arguments in _SIGNATURES.items():
            call = getattr(library, f"headtail_coreml_{name}")
            call.restype, call.argtypes = ctypes.c_int32, arguments
            self._calls[name] = call
        found = self._calls["abi"]()
        if found != ABI:
            raise RuntimeUnavailable(
                f"The Core ML bridge in this app has interface {found}.",
                expected=f"This version of Headtail speaks interface {ABI}.",
                remedy="Build the app with the files of ios/ that belong to this version.",
            )

    def system(self) -> tuple[str, bool]:
        """The system's version, and whether a model may have several functions."""
        text, raw = _room()
        functions = ctypes.c_int32()
        self._calls["system"](ctypes.byref(functions), text)
        return raw.value.decode(errors="replace"), bool(functions.value)

    def footprint(self) -> int | None:
        """Bytes of memory that the system counts for this process."""
        size = ctypes.c_uint64()
        status = self._calls["footprint"](ctypes.byref(size))
        return size.value if status == Status.OK else None

    def compile(self, package: Path, *, cache: Path | None, key: str, again: bool = False) -> Path:
        """The compiled model of a package, made if there is none of that key."""
        text, raw = _room()
        folder = None if cache is None else _bytes(cache)
        self._call("compile", _bytes(package), folder, key.encode(), int(again), text)
        return Path(os.fsdecode(raw.value))

    def open(self, compiled: Path, function: str | None, *, units: int) -> int:
        """The handle of one function; None is the model's default."""
        handle = ctypes.c_int64()
        name = None if function is None else function.encode()
        self._call("open", _bytes(compiled), name, units, ctypes.byref(handle))
        return handle.value

    def describe(self, handle: int, side: Side) -> dict[str, Feature]:
        """Inputs or outputs by name."""
        tensors = (Tensor * MAX_FEATURES)()
        count = ctypes.c_int32(MAX_FEATURES)
        self._call("describe", handle, side, tensors, ctypes.byref(count))
        features = (_feature(tensors[i]) for i in range(count.value))
        return {feature.name: feature for feature in features}

    def predict(
        self, handle: int, inputs: Mapping[str, Array], outputs: Mapping[str, Array]
    ) -> list[Array]:
        """Compute. Inputs are dense and of the model's dtypes: their memory is read where it lies.

        `outputs` are dense arrays to be written. The results are those arrays, or others over the
        same memory where Core ML gave another dtype or shape.
        """
        given = _tensors(inputs)
        wanted = _tensors(outputs)
        self._call("predict", handle, given, len(given), wanted, len(wanted))
        return [
            _result(tensor, room) for tensor, room in zip(wanted, outputs.values(), strict=True)
        ]

    def close(self, handle: int) -> None:
        """Forget a handle."""
        self._call("close", handle)

    def _call(self, name: str, *arguments: object) -> None:
        text, raw = _room()
        status = self._calls[name](*arguments, text)
        if status != Status.OK:
            raise BridgeFault(Status(status), raw.value.decode(errors="replace"))


def _room() -> tuple[Text, ctypes.Array[ctypes.c_char]]:
    """A text to be written, and the buffer that it points into."""
    raw = ctypes.create_string_buffer(_TEXT_BYTES)
    # not ctypes.cast: its result refers to itself, and each frame would leave the collector work
    return Text(ctypes.addressof(raw), _TEXT_BYTES), raw


def _bytes(path: Path) -> bytes:
    return os.fsencode(path.resolve())


def _tensors(arrays: Mapping[str, Array]) -> ctypes.Array[Tensor]:
    tensors = (Tensor * len(arrays))()
    for tensor, (name, array) in zip(tensors, arrays.items(), strict=True):
        tensor.name = name.encode()
        tensor.rank, tensor.dtype = array.ndim, _CODES.get(array.dtype, 0)
        tensor.shape[: array.ndim] = array.shape
        tensor.data, tensor.bytes = array.ctypes.data, array.nbytes
    return tensors


def _feature(tensor: Tensor) -> Feature:
    name = tensor.name.decode()
    if tensor.dtype not in DTYPES:
        raise BridgeFault(Status.TENSOR, f"{name} has MLMultiArrayDataType {tensor.dtype}.")
    return Feature(name, DTYPES[tensor.dtype], tuple(tensor.shape[: tensor.rank]))


def _result(tensor: Tensor, room: Array) -> Array:
    dtype, shape = DTYPES[tensor.dtype], tuple(tensor.shape[: tensor.rank])
    if (dtype, shape) == (room.dtype, room.shape):
        return room
    written = room.reshape(-1).view(np.uint8)[: tensor.bytes]
    return written.view(dtype).reshape(shape)

"""LiteRT's C API as ctypes sees it: which library, which functions, which structs, which statuses.

https://github.com/google-ai-edge/LiteRT/tree/main/litert/c. The library tells no version and its
functions changed their arguments once: until 2.1.5 `LiteRtCreateModelFromFile` took no environment.
What tells the generations apart is which functions are there, so that is what is looked at, and an
older library is refused before anything is called with the wrong arguments.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import importlib.util
import sys
from ctypes import POINTER, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint32, c_void_p
from pathlib import Path
from typing import ClassVar

from headtail.errors import RuntimeUnavailable

__all__ = [
    "PAYLOAD_DESTRUCTOR",
    "EnvironmentOption",
    "LiteRTLibrary",
    "LiteRTStatus",
    "RankedTensorType",
    "open_library",
]

# litert/c/litert_common.h
STATUSES = {
    1: "invalid argument",
    2: "no memory",
    3: "runtime failure",
    4: "missing input tensor",
    5: "unsupported",
    6: "not found",
    7: "timeout",
    8: "wrong version",
    9: "unknown error",
    10: "already exists",
    100: "cancelled",
    500: "file cannot be read",
    501: "invalid flatbuffer",
    502: "a library cannot be loaded",
    503: "serialization failed",
    504: "compilation failed",
    1000: "index out of bounds",
    1001: "invalid IR type",
    1002: "invalid graph",
    1003: "graph modification failed",
    1500: "invalid tool configuration",
    2000: "no legalization matched",
    2001: "invalid legalization",
    3000: "no pattern matched",
    3001: "invalid transformation",
    4000: "unsupported runtime version",
    4001: "unsupported compiler version",
    4002: "incompatible byte code version",
    5000: "no shape inference for an operator",
    5001: "shape inference failed",
}


class _Layout(ctypes.Structure):
    _fields_: ClassVar = [
        ("bits", c_uint32),  # 7 bits of rank, then one that says whether there are strides
        ("dimensions", c_int32 * 8),
        ("strides", c_uint32 * 8),
    ]


class RankedTensorType(ctypes.Structure):
    """`LiteRtRankedTensorType`, 72 bytes."""

    _fields_: ClassVar = [("element_type", c_int), ("layout", _Layout)]


class _Any(ctypes.Structure):
    _fields_: ClassVar = [("type", c_int), ("value", c_int64)]


_ANY_INT = 2  # LiteRtAnyType


class EnvironmentOption(ctypes.Structure):
    """`LiteRtEnvOption` with an integer in it."""

    _fields_: ClassVar = [("tag", c_int), ("any", _Any)]

    @classmethod
    def of(cls, tag: int, value: int) -> EnvironmentOption:
        """The option `tag` set to an integer."""
        return cls(tag, _Any(_ANY_INT, value))


PAYLOAD_DESTRUCTOR = ctypes.CFUNCTYPE(None, c_void_p)

_INDEX = (c_size_t,)
_OUT = (POINTER(c_void_p),)
_COUNT = (POINTER(c_size_t),)
_NAME = (POINTER(c_char_p),)
_HANDLE = (c_void_p,)
_BUFFERS = (c_size_t, POINTER(c_void_p))
_FUNCTIONS: dict[str, tuple[type, ...]] = {
    "CreateEnvironment": (c_int, POINTER(EnvironmentOption), *_OUT),
    "CreateModelFromFile": (*_HANDLE, c_char_p, *_OUT),
    "CreateOptions": _OUT,
    "SetOptionsHardwareAccelerators": (*_HANDLE, c_int),
    "CreateOpaqueOptions": (c_char_p, c_void_p, PAYLOAD_DESTRUCTOR, *_OUT),
    "AddOpaqueOptions": (*_HANDLE, *_HANDLE),
    "CreateCompiledModel": (*_HANDLE, *_HANDLE, *_HANDLE, *_OUT),
    "GetNumModelSignatures": (*_HANDLE, *_COUNT),
    "GetModelSignature": (*_HANDLE, *_INDEX, *_OUT),
    "GetSignatureKey": (*_HANDLE, *_NAME),
    "GetNumSignatureInputs": (*_HANDLE, *_COUNT),
    "GetNumSignatureOutputs": (*_HANDLE, *_COUNT),
    "GetSignatureInputName": (*_HANDLE, *_INDEX, *_NAME),
    "GetSignatureOutputName": (*_HANDLE, *_INDEX, *_NAME),
    "GetSignatureInputTensorByIndex": (*_HANDLE, *_INDEX, *_OUT),
    "GetSignatureOutputTensorByIndex": (*_HANDLE, *_INDEX, *_OUT),
    "GetRankedTensorType": (*_HANDLE, POINTER(RankedTensorType)),
    "GetCompiledModelInputBufferRequirements": (*_HANDLE, *_INDEX, *_INDEX, *_OUT),
    "GetCompiledModelOutputBufferRequirements": (*_HANDLE, *_INDEX, *_INDEX, *_OUT),
    "CreateManagedTensorBufferFromRequirements": (
        *_HANDLE,
        POINTER(RankedTensorType),
        *_HANDLE,
        *_OUT,
    ),
    "GetTensorBufferPackedSize": (*_HANDLE, *_COUNT),
    "LockTensorBuffer": (*_HANDLE, *_OUT, c_int),
    "UnlockTensorBuffer": _HANDLE,
    "RunCompiledModel": (*_HANDLE, *_INDEX, *_BUFFERS, *_BUFFERS),
}
_DESTROYERS = (
    "DestroyEnvironment",
    "DestroyModel",
    "DestroyOptions",
    "DestroyCompiledModel",
    "DestroyTensorBuffer",
)
# newest first: the first whose function is there; the last is the oldest whose arguments are these
_GENERATIONS = (
    ("2.3 or newer", "LiteRtCompiledModelIsNonCpuFullyAccelerated"),
    ("2.2", "LiteRtExternalLiteRtBufferContextGetRunOptions"),
    ("2.1.6", "LiteRtCreateModelFromFd"),
)
_FILE = {"darwin": "libLiteRt.dylib", "win32": "libLiteRt.dll"}.get(sys.platform, "libLiteRt.so")
_REMEDY = (
    "Build the app with com.google.ai.edge.litert:litert:2.1.6 or newer, or install a newer"
    " ai-edge-litert."
)


class LiteRTStatus(Exception):
    """A function of the C API returned something else than ok; adapters make sentences of it."""

    def __init__(self, function: str, status: int) -> None:
        self.function = function
        self.status = status
        self.meaning = STATUSES.get(status, "a status this version of Headtail does not know")
        super().__init__(f"LiteRt{function}: {self.meaning} (status {status})")


class LiteRTLibrary:
    """The functions of `libLiteRt.so` that are used here, with their argument types."""

    def __init__(self, library: ctypes.CDLL, version: str) -> None:
        self.version = version
        self._library = library
        self._functions = {}
        for name, arguments in _FUNCTIONS.items():
            function = getattr(library, f"LiteRt{name}")
            function.argtypes, function.restype = arguments, c_int
            self._functions[name] = function
        for name in _DESTROYERS:
            function = getattr(library, f"LiteRt{name}")
            function.argtypes, function.restype = _HANDLE, None

    def call(self, function: str, *arguments: object) -> None:
        """Call `LiteRt<function>`; raises `LiteRTStatus` unless it says ok."""
        status = self._functions[function](*arguments)
        if status:
            raise LiteRTStatus(function, status)

    def made(self, function: str, *arguments: object) -> c_void_p:
        """The handle that `LiteRt<function>` writes through its last argument."""
        handle = c_void_p()
        self.call(function, *arguments, ctypes.byref(handle))
        return handle

    def counted(self, function: str, *arguments: object) -> int:
        """The number that `LiteRt<function>` writes through its last argument."""
        number = c_size_t()
        self.call(function, *arguments, ctypes.byref(number))
        return number.value

    def named(self, function: str, *arguments: object) -> str:
        """The string that `LiteRt<function>` writes through its last argument."""
        text = c_char_p()
        self.call(function, *arguments, ctypes.byref(text))
        return (text.value or b"").decode()

    def destroy(self, kind: str, handle: c_void_p) -> None:
        """`LiteRtDestroy<kind>`."""
        getattr(self._library, f"LiteRtDestroy{kind}")(handle)


@functools.cache
def open_library(path: str | None = None) -> LiteRTLibrary:
    """The library at `path`, or the one of this machine: of the ai-edge-litert wheel where that is
    installed, else whatever `libLiteRt.so` the loader finds, as in an APK.

    Raises `RuntimeUnavailable` where there is none, or one of another generation.
    """
    place, wheel = (path, "") if path else _of_this_machine()
    try:
        library = ctypes.CDLL(place)
    except OSError as error:
        raise RuntimeUnavailable(
            f"LiteRT's library {place} cannot be loaded: {str(error)[:200]}.",
            expected="An APK holds it as libLiteRt.so, a desk in the ai-edge-litert package.",
            remedy=_REMEDY,
        ) from None
    generations = [version for version, symbol in _GENERATIONS if hasattr(library, symbol)]
    missing = [
        name for name in (*_FUNCTIONS, *_DESTROYERS) if not hasattr(library, f"LiteRt{name}")
    ]
    if not generations or missing:
        lacking = f"LiteRt{missing[0]}" if generations else _GENERATIONS[-1][1]
        raise RuntimeUnavailable(
            f"LiteRT's library {place} has no {lacking}.",
            expected="Its C API must be that of LiteRT 2.1.6 or newer.",
            remedy=_REMEDY,
        )
    return LiteRTLibrary(library, wheel or generations[0])


def _of_this_machine() -> tuple[str, str]:
    found = importlib.util.find_spec("ai_edge_litert")
    for folder in (found.submodule_search_locations or ()) if found else ():
        if (file := Path(folder) / _FILE).is_file():
            return str(file), importlib.metadata.version("ai-edge-litert")
    return _FILE, ""

"""Build the bridge against the stand-in for Core ML, and steer the stand-in."""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headtail.runtimes.coreml_library import _DTYPES  # the stand-in must speak Apple's numbers
from tests.support.capabilities import require

__all__ = ["CODES", "FakeCoreML", "build"]

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
SOURCES = [*sorted((ROOT / "ios").glob("*.m")), HERE / "fake_coreml.m"]
STRICT = ["-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wshadow"]
STRICT += ["-Wundeclared-selector", "-Wmissing-prototypes"]
MAX_RANK = 16
CODES = {dtype.name: code for code, dtype in _DTYPES.items()}
OK, ERROR, EXCEPTION = range(3)

# what a model is, from (path, function): {"inputs": [...], "outputs": [...]}
Describe = Callable[[Path, str | None], dict[str, Any]]
# what it computes, from (path, function, inputs): one dense array per output
Compute = Callable[[Path, str | None, dict[str, Any]], Sequence[Any]]


def build(folder: Path, *flags: str) -> Path:
    """Compile bridge and stand-in into one library; every warning is an error."""
    missing = [tool for tool in ("gcc", "gnustep-config") if shutil.which(tool) is None]
    require(not missing, f"{missing} not installed: .ci/packages.sh")
    asked = _config("--objc-flags")
    system = [flag.replace("-I", "-isystem", 1) for flag in asked if flag not in ("-MMD", "-MP")]
    library = folder / "libheadtail_coreml_fake.so"
    command = ["gcc", "-std=gnu11", "-shared", "-fPIC", *system, *STRICT, *flags]
    command += ["-I", str(ROOT / "ios"), "-I", str(HERE), *map(str, SOURCES)]
    command += ["-o", str(library), *_config("--base-libs")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    require("gnustep" not in done.stderr.lower(), f"no headers of GNUstep: {done.stderr[:200]}")
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return library


def _config(option: str) -> list[str]:
    return subprocess.run(
        ["gnustep-config", option], capture_output=True, text=True, check=True
    ).stdout.split()


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("shape", ctypes.c_int64 * MAX_RANK),
        ("strides", ctypes.c_int64 * MAX_RANK),
        ("rank", ctypes.c_int32),
        ("dtype", ctypes.c_int32),
    )

    def array(self) -> Any:
        """The memory itself as an array."""
        dtype = _DTYPES[self.dtype]
        shape = tuple(self.shape[: self.rank])
        strides = tuple(step * dtype.itemsize for step in self.strides[: self.rank])
        size = sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) + dtype.itemsize
        raw = (ctypes.c_char * size).from_address(self.data)
        return np.ndarray(shape, dtype, raw, strides=strides)


_DESCRIBE = ctypes.CFUNCTYPE(
    ctypes.c_int32, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_uint64
)


class _Call(ctypes.Structure):
    _fields_ = (
        ("path", ctypes.c_char_p),
        ("function", ctypes.c_char_p),
        ("inputs", ctypes.POINTER(_Tensor)),
        ("input_count", ctypes.c_int32),
        ("outputs", ctypes.POINTER(_Tensor)),
        ("output_count", ctypes.c_int32),
        ("text", ctypes.c_void_p),
        ("size", ctypes.c_uint64),
    )


_COMPUTE = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.POINTER(_Call))


class FakeCoreML:
    """The stand-in in `library`, the same that the bridge under test is in."""

    def __init__(self, library: Path) -> None:
        self.library = library
        self._loaded = ctypes.CDLL(str(library))
        self._callbacks: tuple[Any, ...] = ()

    def interpret(self, describe: Describe, compute: Compute) -> None:
        """Use these for every model; an `OSError` they raise is an NSError, a `RuntimeError` an
        NSException."""

        def described(path, function, text, size):
            try:
                said, answer = json.dumps(describe(*_where(path, function))), OK
            except OSError as error:
                said, answer = str(error), ERROR
            _write(text, size, said)
            return answer

        def computed(pointer):
            call = pointer.contents
            given = [call.inputs[i] for i in range(call.input_count)]
            named = {tensor.name.decode(): tensor.array() for tensor in given}
            try:
                results = compute(*_where(call.path, call.function), named)
            except (OSError, RuntimeError) as error:
                _write(call.text, call.size, str(error))
                return ERROR if isinstance(error, OSError) else EXCEPTION
            for i in range(call.output_count):
                call.outputs[i].array()[...] = results[i]
            return OK

        self._callbacks = (_DESCRIBE(described), _COMPUTE(computed))
        self._loaded.fake_coreml_interpret(*self._callbacks)

    def set_functions(self, *, there: bool) -> None:
        self._loaded.fake_coreml_set_functions(int(there))

    def units(self) -> int:
        return int(self._loaded.fake_coreml_units())

    def compiles(self) -> int:
        return int(self._loaded.fake_coreml_compiles())

    def alive(self) -> int:
        return int(self._loaded.fake_coreml_alive())

    def at_once(self) -> int:
        return int(self._loaded.fake_coreml_at_once())


def _where(path: bytes, function: bytes | None) -> tuple[Path, str | None]:
    return Path(path.decode()), None if function is None else function.decode()


def _write(text: int, size: int, said: str) -> None:
    raw = said.encode()[: size - 1] + b"\0"
    ctypes.memmove(text, raw, len(raw))

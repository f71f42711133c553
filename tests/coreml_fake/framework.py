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

from headtail.runtimes.coreml_library import DTYPES  # the stand-in must speak Apple's numbers
from tests.support.capabilities import require

__all__ = ["CODES", "FakeCoreML", "build", "built", "built_for_apple", "compiling"]

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
STRICT = ["-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wshadow"]
STRICT += ["-Wundeclared-selector", "-Wmissing-prototypes"]
LIBRARY = "libheadtail_coreml_fake.so"
MAX_RANK = 16
CODES = {dtype.name: code for code, dtype in DTYPES.items()}
OK, ERROR, EXCEPTION = range(3)
_KEPT: list[Any] = []

# what a model is, from (path, function): {"inputs": [...], "outputs": [...]}
Describe = Callable[[Path, str | None], dict[str, Any]]
# what it computes, from (path, function, inputs): one dense array per output
Compute = Callable[[Path, str | None, dict[str, Any]], Sequence[Any]]


def built(base: Path) -> Path:
    """The library of this test session, built by whoever asks first.

    One for all: the classes of a second one in the same process would be taken for the first one's.
    """
    folder = base / "coreml-fake"
    library = folder / LIBRARY
    if not library.is_file():
        folder.mkdir(exist_ok=True)
        build(folder)
    return library


def built_for_apple(folder: Path) -> Path:
    """The bridge alone, against Apple's own framework; on a Mac with Xcode's tools."""
    library = folder / "libheadtail_coreml.dylib"
    sources = map(str, sorted((ROOT / "ios").glob("*.m")))
    command = ["clang", "-dynamiclib", "-fno-objc-arc", "-Wall", *sources, "-o", str(library)]
    subprocess.run([*command, "-framework", "Foundation", "-framework", "CoreML"], check=True)
    return library


def build(folder: Path, *flags: str) -> Path:
    """Compile bridge and stand-in into one library; every warning is an error."""
    library = folder / LIBRARY
    sources = [*sorted((ROOT / "ios").glob("*.m")), *sorted(HERE.glob("*.m"))]
    command = compiling("-shared", "-fPIC", *flags, *map(str, sources), "-o", str(library))
    done = subprocess.run(
        [*command, *_config("--base-libs")], capture_output=True, text=True, check=False
    )
    require("Foundation/Foundation.h" not in done.stderr, f"no GNUstep: {done.stderr[:200]}")
    assert not done.returncode, done.stderr
    return library


def compiling(*arguments: str) -> list[str]:
    """The compiler with GNUstep's flags, the stand-in's headers and ours."""
    missing = [tool for tool in ("gcc", "gnustep-config") if shutil.which(tool) is None]
    require(not missing, f"{missing} not installed: .ci/packages.sh")
    asked = [flag for flag in _config("--objc-flags") if flag not in ("-MMD", "-MP")]
    system = [flag.replace("-I", "-isystem", 1) for flag in asked]
    ours = ["-I", str(ROOT / "ios"), "-I", str(HERE)]
    return ["gcc", "-std=gnu11", *system, *STRICT, *ours, *arguments]


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
        dtype = DTYPES[self.dtype]
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

        callbacks = (_DESCRIBE(described), _COMPUTE(computed))
        _KEPT.append(callbacks)  # the library calls them when nobody here remembers them
        self._loaded.fake_coreml_interpret(*callbacks)

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

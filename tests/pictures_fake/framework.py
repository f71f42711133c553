"""Build the pictures' bridge against the stand-in, and steer the stand-in."""

from __future__ import annotations

import ctypes
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.coreml_fake.framework import compiling
from tests.support.capabilities import require

__all__ = ["FakePictures", "build", "built", "compiling_pictures"]

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
BRIDGE = ROOT / "ios" / "pictures"
LIBRARY = "libheadtail_pictures_fake.so"
OK, ERROR, RAISES = range(3)
_KEPT: list[Any] = []
_DECODE = ctypes.CFUNCTYPE(
    ctypes.c_int32,
    ctypes.c_void_p,
    ctypes.c_int32,
    ctypes.c_int32,
    ctypes.c_int64,
    ctypes.c_void_p,
    ctypes.c_uint64,
)
Decode = Callable[[np.ndarray], list[str | None]]


def built(base: Path) -> Path:
    """The library of this test session, built by whoever asks first; one for all, since two with
    the same classes cannot be in one process."""
    folder = base / "pictures-fake"
    library = folder / LIBRARY
    if not library.is_file():
        folder.mkdir(exist_ok=True)
        build(folder)
    return library


def build(folder: Path, *flags: str) -> Path:
    """Compile bridge and stand-in into one library; every warning is an error."""
    require(BRIDGE.is_dir(), "ios/ is not here: the tests of the payload run beside nothing else")
    library = folder / LIBRARY
    sources = [*sorted(BRIDGE.glob("*.m")), *sorted(HERE.glob("*.m"))]
    command = compiling_pictures("-shared", "-fPIC", *flags, *map(str, sources))
    libraries = ["-o", str(library), "-lgnustep-base", "-lobjc", "-lpthread"]
    done = subprocess.run([*command, *libraries], capture_output=True, text=True, check=False)
    headers = "Foundation/Foundation.h: No such file" not in done.stderr
    require(headers, f"no GNUstep: {done.stderr[:200]}")
    assert not done.returncode, done.stderr
    return library


def compiling_pictures(*arguments: str) -> list[str]:
    """The compiler with GNUstep's flags, the stand-in's headers and the bridge's."""
    return compiling("-I", str(BRIDGE), "-I", str(HERE), *arguments)


class FakePictures:
    """The stand-in in `library`, the same that the bridge under test is in."""

    def __init__(self, library: Path) -> None:
        self._loaded = ctypes.CDLL(str(library))

    def read_with(self, decode: Decode) -> None:
        """Have codes read by `decode`; an `OSError` it raises is an NSError, a `RuntimeError` an
        NSException."""

        def decoded(data, width, height, stride, text, size):
            raw = (ctypes.c_uint8 * (stride * height)).from_address(data)
            luma = np.frombuffer(raw, np.uint8).reshape(height, stride)[:, :width]
            try:
                said, answer = json.dumps(decode(np.ascontiguousarray(luma))), OK
            except (OSError, RuntimeError) as error:
                said, answer = str(error), ERROR if isinstance(error, OSError) else RAISES
            written = said.encode()[: size - 1] + b"\0"
            ctypes.memmove(text, written, len(written))
            return answer

        callback = _DECODE(decoded)
        _KEPT.append(callback)  # the library calls it when nobody here remembers it
        self._loaded.fake_pictures_decode(callback)

    def set_window(self, *, there: bool = True, raises: bool = False) -> None:
        self._loaded.fake_pictures_window(int(there), int(raises))

    def held(self) -> int:
        return int(self._loaded.fake_pictures_held())

    def shown(self) -> int:
        return int(self._loaded.fake_pictures_shown())

    def choose(self, file: Path, *, kind: str = "public.jpeg", fault: str | None = None) -> None:
        said = None if fault is None else fault.encode()
        self._loaded.fake_pictures_choose(str(file).encode(), kind.encode(), said)

    def choose_nothing(self) -> None:
        self._loaded.fake_pictures_choose(None, None, None)

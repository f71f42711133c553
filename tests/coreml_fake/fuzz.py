"""Wrong calls of the bridge's C interface, made at random: each must be an error, none a crash.

    python -m tests.coreml_fake.fuzz LIBRARY FOLDER ROUNDS

is what the sanitizers watch. What no callee can know is left out: a pointer to nowhere, a count
that is more than the memory behind it.
"""

from __future__ import annotations

import ctypes
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from headtail.runtimes.coreml_library import DTYPES, Bridge, Status, Tensor, Text
from tests.coreml_fake.framework import FakeCoreML
from tests.coreml_fake.packages import facts, feature, write_package

__all__ = ["fuzz"]

NAMES = (b"x", b"y", b"z", b"", b"absent", b"\xff\xfe", b"n" * 256, "ü".encode() * 90)
SIZES = (-(1 << 63), -1, 0, 1, 2, 3, 1 << 31, 1 << 40, (1 << 63) - 1)
CODES = (*DTYPES, 0, -1, 131080, (1 << 31) - 1)
CAPACITY = 4
X = np.arange(12, dtype=np.float32).reshape(3, 4)
FUNCTIONS = {
    "forward": {
        "inputs": [feature("x", 3, 4)],
        "outputs": [feature("y", 3, 4, strides=[16, 1]), feature("z", 2, dtype="float16")],
    }
}


def compute(path: Path, function: str | None, inputs: dict[str, Any]) -> list[Any]:
    """Twice the input, and two of its numbers."""
    return [inputs["x"] * 2, inputs["x"][0, :2]]


def fuzz(library: Path, folder: Path, *, rounds: int, seed: int = 0) -> Counter[int]:
    """Make `rounds` calls; how often each status came back. Raises if a result is not right."""
    fake = FakeCoreML(library)
    fake.interpret(facts, compute)
    calls = Calls(library, folder, random.Random(seed))
    seen = Counter(getattr(calls, calls.random.choice(Calls.KINDS))() for _ in range(rounds))
    calls.bridge.close(calls.open)
    return seen


class Calls:
    """One open model, one closed handle, and every function called with something wrong."""

    KINDS = ("compile", "load", "describe", "predict", "predict", "predict", "close", "system")

    def __init__(self, library: Path, folder: Path, source: random.Random) -> None:
        self.random = source
        self.bridge = Bridge(ctypes.CDLL(str(library)))
        self.raw = ctypes.CDLL(str(library))
        self.cache = folder / "caches"
        self.package = write_package(folder / "fuzz.mlpackage", FUNCTIONS)
        self.compiled = self.bridge.compile(self.package, cache=self.cache, key="fuzz")
        self.open = self.bridge.open(self.compiled, None, units=0)
        self.closed = self.bridge.open(self.compiled, None, units=0)
        self.bridge.close(self.closed)

    def compile(self) -> int:
        """Keys that would leave the folder, short buffers, nulls."""
        keys = (b"fuzz", b"../up", b".hidden", b"", b"a/b", b"k" * 200, b"\xff", None)
        return self._told(
            self.raw.headtail_coreml_compile,
            self._one(str(self.package).encode(), b"/absent.mlpackage", b"", None),
            self._one(str(self.cache).encode(), b"/dev/null/caches"),
            self._one(*keys),
            0,
            self._one(*map(ctypes.byref, (text(4096), text(8), text(0))), None),
        )

    def load(self) -> int:
        """Models, functions and units that do not exist."""
        handle = ctypes.c_int64()
        status = self._told(
            self.raw.headtail_coreml_open,
            self._one(str(self.compiled).encode(), b"/absent", None),
            self._one(None, b"absent", b"\xff"),
            self._one(0, 3, -1, 4, 1 << 30),
            self._one(ctypes.byref(handle), None),
        )
        if status == Status.OK:
            self.bridge.close(handle.value)
        return status

    def describe(self) -> int:
        """Other sides, too little room."""
        count = ctypes.c_int32(self._one(CAPACITY, 1, 0, -1))
        return self._told(
            self.raw.headtail_coreml_describe,
            self._handle(),
            self._one(0, 1, 2, -1),
            self._one((Tensor * CAPACITY)(), None),
            self._one(ctypes.byref(count), None),
        )

    def predict(self) -> int:
        """Tensors of any name, type, shape and size; a right call must give the right result."""
        room = np.zeros((3, 4), np.float32), np.zeros(2, np.float16)
        inputs = (Tensor * 2)(self._tensor(b"x", X), self._tensor(b"x", X))
        outputs = (Tensor * 2)(self._tensor(b"y", room[0]), self._tensor(b"z", room[1]))
        right = inputs[0].bytes == X.nbytes and inputs[0].data and outputs[0].data
        status = self._told(
            self.raw.headtail_coreml_predict,
            self._handle(),
            self._one(inputs, inputs, inputs, None),
            self._one(1, 1, 1, 2, 0, -1),
            self._one(outputs, outputs, outputs, None),
            self._one(2, 2, 2, 1, 0, -1),
        )
        if status == Status.OK:
            assert right, "a tensor without memory, or of another size, was taken"
            if outputs[0].name == b"y":
                np.testing.assert_array_equal(room[0], X * 2)
        return status

    def close(self) -> int:
        """Handles that were never given, or given back."""
        return self._told(
            self.raw.headtail_coreml_close, ctypes.c_int64(self._one(self.closed, 0, -1, 1 << 62))
        )

    def system(self) -> int:
        """No room for the answer."""
        return int(self.raw.headtail_coreml_system(None, None))

    def _told(self, call: Any, *arguments: Any) -> int:
        """Call with room for the error's text, little or none."""
        size = self._one(4096, 16, 1, 0)
        raw = ctypes.create_string_buffer(b"?" * 4096)
        said = (
            ctypes.byref(Text(ctypes.addressof(raw), size)) if self.random.random() < 0.9 else None
        )
        status = Status(call(*arguments, said))
        if status != Status.OK and said is not None and size:
            raw.raw[:size].split(b"\0")[0].decode()  # whole characters, ended inside the buffer
            assert b"\0" in raw.raw[:size]
        assert raw.raw[size:4096] == b"?" * (4096 - size), "written past the end"
        return status

    def _handle(self) -> ctypes.c_int64:
        return ctypes.c_int64(self._one(*[self.open] * 8, self.closed, 0, -1))

    def _tensor(self, name: bytes, array: Any) -> Tensor:
        """The array as it is, or with one thing about it wrong."""
        code = next(code for code, dtype in DTYPES.items() if dtype == array.dtype)
        tensor = Tensor(name, (), array.ndim, code, array.ctypes.data, array.nbytes)
        tensor.shape[: array.ndim] = array.shape
        wrong = self._one(*["nothing"] * 8, "name", "size", "rank", "dtype", "data", "bytes")
        if wrong == "name":
            tensor.name = self._one(*NAMES)
        elif wrong == "size":
            tensor.shape[self.random.randrange(16)] = self._one(*SIZES)
        elif wrong == "rank":
            tensor.rank = self._one(-1, 0, 1, 3, 16, 17, 1 << 30)
        elif wrong == "dtype":
            tensor.dtype = self._one(*CODES)
        elif wrong == "data":
            tensor.data = None
        elif wrong == "bytes":
            tensor.bytes = self._one(0, 1, array.nbytes - 1)
        return tensor

    def _one(self, *choices: Any) -> Any:
        return self.random.choice(choices)


def text(size: int) -> Text:
    """Room for text that lives as long as the structure."""
    raw = ctypes.create_string_buffer(max(size, 1))
    made = Text(ctypes.addressof(raw), size)
    made.kept = raw
    return made


if __name__ == "__main__":
    print(dict(fuzz(Path(sys.argv[1]), Path(sys.argv[2]), rounds=int(sys.argv[3]))))

"""ExecuTorch on Android: `org.pytorch.executorch.Module` by pyjnius, one method per entry point.

https://docs.pytorch.org/executorch/stable/using-executorch-android.html. Its Java API has two
generations: `loadMethod` returns a status in the older and throws in the newer. Tensors travel as
bytes, in and out: of a Python list pyjnius picks the overload for `short[]`, which is HALF, and
computes garbage without an error.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headtail.errors import IntegrityFault, RuntimeUnavailable, TensorMismatch, UnknownName
from headtail.runtimes.base import CPU, Capability, Entries, check_accelerator, check_threads
from headtail.runtimes.java_bridge import array_of, find_class, java_exception, said
from headtail.runtimes.memory import growth_since, resident_bytes
from headtail.runtimes.pte_file import read_pte
from headtail.runtimes.session import FileSession
from headtail.tensors import Array, TensorSpec

__all__ = ["ExecuTorchJava"]

_PACKAGE = "org.pytorch:executorch-android"
# whatever is met later is looked for now, while this is the main thread
_CLASSES = tuple(
    f"org.pytorch.executorch.{name}" for name in ("Module", "Tensor", "EValue", "DType")
)
# short dtype -> (DType of the Java API, view of a ByteBuffer, kind of java.nio buffer)
_DTYPES = {
    "f32": ("FLOAT", "asFloatBuffer", "FloatBuffer"),
    "f64": ("DOUBLE", "asDoubleBuffer", "DoubleBuffer"),
    "f16": ("HALF", "asShortBuffer", "ShortBuffer"),
    "i32": ("INT32", "asIntBuffer", "IntBuffer"),
    "i64": ("INT64", "asLongBuffer", "LongBuffer"),
    "i8": ("INT8", "duplicate", "ByteBuffer"),
    "u8": ("UINT8", "duplicate", "ByteBuffer"),
}


class ExecuTorchJava:
    """Runs `.pte` files in an APK that was built with ExecuTorch's Android package."""

    name = "executorch-java"
    format = "executorch"
    accelerators = (CPU,)

    def __init__(self, *, timing_kind: str = "device") -> None:
        self.timing_kind = timing_kind

    def probe(self) -> Capability:
        """Are the Java classes and their native library in this app? Ask on the main thread."""
        try:
            module = _module_class()
        except RuntimeUnavailable as error:
            return Capability(False, reason=str(error))
        generation = "newer" if hasattr(module, "close") else "older"
        return Capability(True, version=f"{_PACKAGE}, {generation} API")

    def load(
        self, path: Path, *, entries: Entries, threads: int = 1, accelerator: str = CPU
    ) -> ExecuTorchJavaSession:
        """Load a `.pte`; raises `IntegrityFault` if it is not whole or ExecuTorch refuses it.

        `threads` sets ExecuTorch's thread pool, which is one per process: the last load decides.
        Only methods that `entries` describes are loaded.
        """
        check_accelerator(self, accelerator)
        check_threads(threads)
        for spec in (spec for sides in entries.values() for side in sides for spec in side):
            if spec.dtype not in _DTYPES:
                raise UnknownName(f"dtype of {self.name}", spec.dtype, _DTYPES)
        held = read_pte(path)
        modules = _module_class()
        before = resident_bytes()
        try:
            module = modules.load(str(path), modules.LOAD_MODE_MMAP, threads)
            status = {name: module.loadMethod(name) for name in held if name in entries}
        except java_exception() as error:
            raise _refused(path, said(error)) from None
        for name, code in status.items():
            if code:  # of the older generation; the newer throws
                raise _refused(path, f"loadMethod({name}) gave status {code}")
        return ExecuTorchJavaSession(path.name, module, held, entries, growth_since(before))


@dataclass(frozen=True)
class _Plug:
    """The direct buffer that an input tensor reads, and the tensor as the method takes it."""

    buffer: Any
    value: Any


@dataclass(frozen=True)
class _Sink:
    """A buffer with a Java `byte[]` behind it, and the same as numbers."""

    buffer: Any
    numbers: Any


class ExecuTorchJavaSession(FileSession):
    """One loaded `.pte`; buffers are made with an entry point's first run and kept."""

    def __init__(
        self,
        file: str,
        module: Any,
        held: Mapping[str, tuple[range, range]],
        entries: Entries,
        memory_bytes: int | None,
    ) -> None:
        super().__init__(file, held, entries, memory_bytes=memory_bytes)
        self._module = module
        self._plugs: dict[str, list[_Plug]] = {}
        self._sinks: dict[str, list[_Sink]] = {}

    def _compute(self, entry: str, inputs: Sequence[Array]) -> list[Array]:
        if entry not in self._plugs:
            self._plugs[entry] = [_plug(spec) for spec in self.inputs(entry)]
            self._sinks[entry] = [_sink(spec) for spec in self.outputs(entry)]
        plugs = self._plugs[entry]
        for plug, array in zip(plugs, inputs, strict=True):
            plug.buffer.clear()
            plug.buffer.put(array.tobytes())
        try:
            values = self._module.execute(entry, *(plug.value for plug in plugs))
        except java_exception() as error:
            raise RuntimeUnavailable(
                f"ExecuTorch could not run {entry} of {self._file}: {said(error)}.",
                expected="A method that was loaded runs.",
                remedy="Close other apps and load it again, or use another runtime.",
            ) from None
        triples = zip(values, self._sinks[entry], self.outputs(entry), strict=True)
        return [_read(value.toTensor(), sink, spec) for value, sink, spec in triples]

    def _release(self) -> None:
        self._plugs.clear()
        self._sinks.clear()
        self._module.destroy()


def _module_class() -> Any:
    module, *_ = [find_class(name, package=_PACKAGE) for name in _CLASSES]
    try:
        module.LOAD_MODE_MMAP  # noqa: B018  # the first touch loads the native library
    except java_exception() as error:
        raise RuntimeUnavailable(
            f"ExecuTorch's native library does not load: {said(error)}.",
            expected="An APK holds it for this phone's processor.",
            remedy=f"Build the app for this processor, with {_PACKAGE}.",
        ) from None
    return module


def _plug(spec: TensorSpec) -> _Plug:
    tensors = find_class("org.pytorch.executorch.Tensor", package=_PACKAGE)
    values = find_class("org.pytorch.executorch.EValue", package=_PACKAGE)
    buffer = tensors.allocateByteBuffer(spec.nbytes)  # direct, and in native byte order
    made = tensors.fromBlobUnsigned if spec.dtype == "u8" else tensors.fromBlob
    _, view, _ = _DTYPES[spec.dtype]
    numbers = buffer if view == "duplicate" else getattr(buffer, view)()
    # `from` is a word of Python's
    return _Plug(buffer, getattr(values, "from")(made(numbers, list(spec.shape))))


def _sink(spec: TensorSpec) -> _Sink:
    buffers = find_class("java.nio.ByteBuffer", package="Android")
    orders = find_class("java.nio.ByteOrder", package="Android")
    native = orders.LITTLE_ENDIAN if sys.byteorder == "little" else orders.BIG_ENDIAN
    buffer = buffers.allocate(spec.nbytes).order(native)
    _, view, _ = _DTYPES[spec.dtype]
    return _Sink(buffer, getattr(buffer, view)())


def _read(tensor: Any, sink: _Sink, spec: TensorSpec) -> Array:
    dtype, _, kind = _DTYPES[spec.dtype]
    found, shape = tensor.dtype().toString(), tuple(tensor.shape())
    if found != dtype or shape != spec.shape:
        raise TensorMismatch(
            f"ExecuTorch gives {spec.name} as {found}{list(shape)}.",
            expected=f"The manifest describes {spec}.",
            remedy="Export the model again; file and manifest do not belong together.",
        )
    # the module's own memory, which the next run writes over
    raw = _cast(f"java.nio.{kind}", tensor.getRawDataBuffer())
    raw.rewind()
    sink.numbers.clear()
    sink.numbers.put(raw)
    return array_of(sink.buffer.array(), spec.numpy_dtype, spec.shape)


def _cast(name: str, value: Any) -> Any:
    from jnius import cast

    return cast(name, value)


def _refused(path: Path, why: str) -> IntegrityFault:
    return IntegrityFault(
        f"ExecuTorch cannot read {path.name}: {why}.",
        file=path.name,
        expected="A complete .pte file for this runtime's version.",
        remedy="Export the model again, or update the app.",
    )

"""LiteRT on Android through its Java classes: `com.google.ai.edge.litert.CompiledModel` by pyjnius.

https://ai.google.dev/edge/litert/next/android_kotlin. For an APK in which `libLiteRt.so` cannot be
opened by name (`headtail.runtimes.litert_ctypes` is preferred): this API takes and gives `float[]`,
which pyjnius makes of a list one number at a time. It names neither signatures nor quantization,
so those are read from the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headtail.errors import IntegrityFault, RuntimeUnavailable, UnknownName
from headtail.runtimes.base import CPU, Capability, Entries, check_accelerator, check_threads
from headtail.runtimes.java_bridge import find_class, java_exception, said
from headtail.runtimes.litert_border import real
from headtail.runtimes.memory import growth_since, resident_bytes
from headtail.runtimes.session import FileSession
from headtail.runtimes.tflite_file import SignatureTensors, TfliteTensor, read_tflite
from headtail.tensors import Array

__all__ = ["LiteRTJava"]

_PACKAGE = "com.google.ai.edge.litert:litert"
# whatever is met later is looked for now, while this is the main thread
_CLASSES = (
    "CompiledModel",
    "CompiledModel$Options",
    "CompiledModel$CpuOptions",
    "TensorBuffer",
    "Accelerator",
)


@dataclass(frozen=True)
class _Kind:
    """How TensorBuffer takes and gives one dtype, and what pyjnius wants for it."""

    write: str
    read: str
    given: Callable[[Array], Any]


def _listed(array: Array) -> Any:
    return array.ravel().tolist()


_KINDS = {
    "float32": _Kind("writeFloat", "readFloat", _listed),
    "int32": _Kind("writeInt", "readInt", _listed),
    "int64": _Kind("writeLong", "readLong", _listed),
    "bool": _Kind("writeBoolean", "readBoolean", _listed),
    "int8": _Kind("writeInt8", "readInt8", lambda array: array.tobytes()),
}


class LiteRTJava:
    """Runs `.tflite` files in an APK that was built with LiteRT's Android package."""

    name = "litert-java"
    format = "litert"
    accelerators = (CPU, "gpu")  # of the npu alone this API makes npu or cpu, unasked

    def __init__(self, *, timing_kind: str = "device") -> None:
        self.timing_kind = timing_kind

    def probe(self) -> Capability:
        """Are the Java classes and their native library in this app? Ask on the main thread."""
        try:
            _classes()
        except RuntimeUnavailable as error:
            return Capability(False, reason=str(error))
        return Capability(True, version=f"{_PACKAGE}, CompiledModel")

    def load(
        self, path: Path, *, entries: Entries, threads: int = 1, accelerator: str = CPU
    ) -> LiteRTJavaSession:
        """Load a `.tflite`; raises `IntegrityFault` if it is not whole or LiteRT refuses it.

        The whole file runs on `accelerator`, or `RuntimeUnavailable` says that it cannot.
        """
        check_accelerator(self, accelerator)
        check_threads(threads)
        signatures = read_tflite(path)
        for tensor in (t for s in signatures.values() for t in (*s.inputs, *s.outputs)):
            if tensor.affine.dtype.name not in _KINDS:
                raise UnknownName(f"dtype of {self.name}", tensor.affine.dtype.name, _KINDS)
        models = _classes()["CompiledModel"]
        before = resident_bytes()
        try:
            model = models.create(str(path), _options(accelerator, threads))
        except java_exception() as error:
            raise _refused(path, accelerator, said(error)) from None
        try:
            return LiteRTJavaSession(path.name, model, signatures, entries, growth_since(before))
        except Exception:  # whatever the manifest is refused for, the model is not kept
            model.close()
            raise


class LiteRTJavaSession(FileSession):
    """One loaded `.tflite`; buffers are made with an entry point's first run and kept."""

    def __init__(
        self,
        file: str,
        model: Any,
        signatures: Mapping[str, SignatureTensors],
        entries: Entries,
        memory_bytes: int | None,
    ) -> None:
        held = {name: (one.inputs, one.outputs) for name, one in signatures.items()}
        super().__init__(file, held, entries, memory_bytes=memory_bytes)
        self._signatures = signatures
        self._model = model
        self._buffers: dict[str, tuple[Any, Any]] = {}
        self._kept = ExitStack()
        self._kept.callback(model.close)

    def _compute(self, entry: str, inputs: Sequence[Array]) -> list[Array]:
        signature = self._signatures[entry]
        arrays = [t.filed(array) for t, array in zip(signature.inputs, inputs, strict=True)]
        try:
            if entry not in self._buffers:
                self._buffers[entry] = self._made(entry)
            taken, given = self._buffers[entry]
            for tensor, array in zip(signature.inputs, arrays, strict=True):
                kind = _KINDS[array.dtype.name]
                getattr(taken.get(tensor.name), kind.write)(kind.given(array))
            self._model.run(taken, given, entry)
            results = [_read(given.get(tensor.name), tensor) for tensor in signature.outputs]
        except java_exception() as error:
            raise RuntimeUnavailable(
                f"LiteRT could not run {entry} of {self._file}: {said(error)}.",
                expected="A model that was loaded runs.",
                remedy="Close other apps and load it again, or use another runtime or accelerator.",
            ) from None
        triples = zip(results, signature.outputs, self.outputs(entry), strict=True)
        return [real(array, tensor.affine, spec) for array, tensor, spec in triples]

    def _made(self, entry: str) -> tuple[Any, Any]:
        """Java maps of name -> TensorBuffer; an input that is an output too has one buffer."""
        maps = find_class("java.util.HashMap", package="Android")
        signature = self._signatures[entry]
        sides = (maps(), maps())
        shared: dict[int, Any] = {}
        makers = (self._model.createInputBuffer, self._model.createOutputBuffer)
        tensors = (signature.inputs, signature.outputs)
        for side, make, wanted in zip(sides, makers, tensors, strict=True):
            for tensor in wanted:
                if tensor.index not in shared:
                    shared[tensor.index] = make(tensor.name, entry)
                    self._kept.callback(shared[tensor.index].close)
                side.put(tensor.name, shared[tensor.index])
        return sides

    def _release(self) -> None:
        self._buffers.clear()
        self._kept.close()


def _read(buffer: Any, tensor: TfliteTensor) -> Array:
    dtype = tensor.affine.dtype
    numbers = getattr(buffer, _KINDS[dtype.name].read)()
    if dtype.name == "int8":
        numbers = np.frombuffer(numbers.tostring(), dtype)
    return np.array(numbers, dtype).reshape(tensor.shape)


def _classes() -> dict[str, Any]:
    place = "com.google.ai.edge.litert"
    return {name: find_class(f"{place}.{name}", package=_PACKAGE) for name in _CLASSES}


def _options(accelerator: str, threads: int) -> Any:
    classes = _classes()
    chosen = find_class("java.util.HashSet", package="Android")()
    chosen.add(classes["Accelerator"].valueOf(accelerator.upper()))
    options = classes["CompiledModel$Options"](chosen)
    number = find_class("java.lang.Integer", package="Android")
    options.setCpuOptions(classes["CompiledModel$CpuOptions"](number(threads), None, None))
    return options


def _refused(path: Path, accelerator: str, why: str) -> IntegrityFault | RuntimeUnavailable:
    if accelerator != CPU:
        return RuntimeUnavailable(
            f"LiteRT cannot run {path.name} on this phone's {accelerator}: {why}.",
            expected=f"There is a {accelerator} that takes every operator of the model.",
            remedy="Choose the cpu in the settings, or a bundle that was made for it.",
        )
    return IntegrityFault(
        f"LiteRT cannot read {path.name}: {why}.",
        file=path.name,
        expected="A complete .tflite file with signatures.",
        remedy="Export the model again, or download it again.",
    )

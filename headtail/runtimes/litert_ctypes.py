"""LiteRT without Java and without its Python wheel: `libLiteRt.so` by ctypes.

The library is the same on a phone (in the APK, from Gradle's `litert`), on a desk (in the
ai-edge-litert wheel) and on arm64 Linux, so this one adapter runs on all of them.
https://ai.google.dev/edge/litert/next/get_started. The buffer of each tensor is made once and kept;
a run copies each array once into its buffer, or once out of it, and nothing else.

LiteRT checks nothing of a file: of those with a changed byte some crash or hang it. Its structure
is checked here first (`headtail.runtimes.tflite_file`), and a stranger's file is hashed against its
manifest before it comes here at all (`headtail.bundle`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from headtail.errors import HeadtailError, IntegrityFault, RuntimeUnavailable
from headtail.runtimes.base import CPU, Capability, Entries, check_accelerator, check_threads
from headtail.runtimes.litert_border import real
from headtail.runtimes.litert_c_api import LiteRTStatus, open_library
from headtail.runtimes.litert_c_file import ACCELERATORS, LiteRTFile, Signature, SignatureTensor
from headtail.runtimes.memory import growth_since, resident_bytes
from headtail.runtimes.session import FileSession
from headtail.runtimes.tflite_file import read_tflite
from headtail.tensors import Array

__all__ = ["LiteRTCtypes"]

_NOT_THE_FILES = (
    "CreateEnvironment",
    "CreateOptions",
    "SetOptionsHardwareAccelerators",
    "CreateOpaqueOptions",
    "AddOpaqueOptions",
    "CreateManagedTensorBufferFromRequirements",
)
_READ, _WRITE = 0, 1  # LiteRtTensorBufferLockMode


class LiteRTCtypes:
    """Runs `.tflite` files with the library at `library`, by default this machine's."""

    name = "litert-ctypes"
    format = "litert"
    accelerators = tuple(ACCELERATORS)

    def __init__(self, library: str | None = None, *, timing_kind: str = "host") -> None:
        self._library = library
        self.timing_kind = timing_kind

    def probe(self) -> Capability:
        """Is there a `libLiteRt.so` whose C API this adapter speaks?"""
        try:
            return Capability(True, version=open_library(self._library).version)
        except RuntimeUnavailable as error:
            return Capability(False, reason=str(error))

    def load(
        self, path: Path, *, entries: Entries, threads: int = 1, accelerator: str = CPU
    ) -> LiteRTCtypesSession:
        """Load a `.tflite`; raises `IntegrityFault` if LiteRT refuses it.

        The whole file runs on `accelerator`, or `RuntimeUnavailable` says that it cannot: LiteRT is
        not allowed to leave a part of it on the CPU. `threads` are the CPU's.
        """
        check_accelerator(self, accelerator)
        check_threads(threads)
        library = open_library(self._library)
        described = read_tflite(path)  # before LiteRT, which follows a file's offsets unchecked
        before = resident_bytes()
        with ExitStack() as stack, _refusals(path, accelerator):
            loaded = LiteRTFile(library, stack)
            loaded.compile(path, threads, accelerator)
            signatures = loaded.signatures(described)
            kept = stack.pop_all()
        try:
            return LiteRTCtypesSession(
                path.name, loaded, signatures, kept, entries, growth_since(before)
            )
        except HeadtailError:
            kept.close()
            raise


class LiteRTCtypesSession(FileSession):
    """One loaded `.tflite`; closing `kept` frees every handle of it."""

    def __init__(
        self,
        file: str,
        loaded: LiteRTFile,
        signatures: Mapping[str, Signature],
        kept: ExitStack,
        entries: Entries,
        memory_bytes: int | None,
    ) -> None:
        held = {name: (one.inputs, one.outputs) for name, one in signatures.items()}
        super().__init__(file, held, entries, memory_bytes=memory_bytes)
        self._loaded = loaded
        self._library = loaded.library
        self._signatures = signatures
        self._kept = kept

    def _compute(self, entry: str, inputs: Sequence[Array]) -> list[Array]:
        signature = self._signatures[entry]
        try:
            for kept, array in zip(signature.inputs, inputs, strict=True):
                self._write(kept, kept.tensor.filed(array))
            self._library.call(
                "RunCompiledModel",
                self._loaded.compiled,
                signature.index,
                len(signature.inputs),
                signature.input_buffers,
                len(signature.outputs),
                signature.output_buffers,
            )
            results = [self._read(kept) for kept in signature.outputs]
        except LiteRTStatus as status:
            raise RuntimeUnavailable(
                f"LiteRT could not run {entry} of {self._file}: {status}.",
                expected="A model that was loaded runs.",
                remedy="Close other apps and load it again, or use another runtime or accelerator.",
            ) from None
        pairs = zip(results, signature.outputs, self.outputs(entry), strict=True)
        return [real(array, kept.tensor.affine, spec) for array, kept, spec in pairs]

    def _write(self, kept: SignatureTensor, array: Array) -> None:
        address = ctypes.c_void_p()
        self._library.call("LockTensorBuffer", kept.buffer, ctypes.byref(address), _WRITE)
        ctypes.memmove(address, array.ctypes.data, min(array.nbytes, kept.nbytes))
        self._library.call("UnlockTensorBuffer", kept.buffer)

    def _read(self, kept: SignatureTensor) -> Array:
        array = np.empty(kept.tensor.shape, kept.tensor.affine.dtype)
        address = ctypes.c_void_p()
        self._library.call("LockTensorBuffer", kept.buffer, ctypes.byref(address), _READ)
        ctypes.memmove(array.ctypes.data, address, min(array.nbytes, kept.nbytes))
        self._library.call("UnlockTensorBuffer", kept.buffer)
        return array

    def _release(self) -> None:
        self._kept.close()


@contextmanager
def _refusals(path: Path, accelerator: str) -> Iterator[None]:
    """A status while loading: the accelerator's where there is one to blame, else the file's."""
    try:
        yield
    except LiteRTStatus as status:
        if status.function == "CreateCompiledModel" and accelerator != CPU:
            raise RuntimeUnavailable(
                f"LiteRT cannot run {path.name} on this machine's {accelerator}: {status}.",
                expected=f"There is a {accelerator} that takes every operator of the model.",
                remedy="Choose the cpu in the settings, or a bundle that was made for it.",
            ) from None
        if status.function in _NOT_THE_FILES:
            raise RuntimeUnavailable(
                f"LiteRT cannot be set up: {status}.",
                expected="The library makes an environment, options and buffers.",
                remedy="Close other apps and try again, or use another runtime.",
            ) from None
        raise IntegrityFault(
            f"LiteRT cannot read {path.name}: {status}.",
            file=path.name,
            expected="A complete .tflite file with signatures.",
            remedy="Export the model again, or download it again.",
        ) from None

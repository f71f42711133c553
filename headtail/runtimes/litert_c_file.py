"""One `.tflite` opened through LiteRT's C API: its handles, its signatures and their buffers."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from headtail.runtimes.base import CPU
from headtail.runtimes.litert_c_api import (
    PAYLOAD_DESTRUCTOR,
    EnvironmentOption,
    LiteRTLibrary,
    RankedTensorType,
)
from headtail.runtimes.tflite_file import SignatureTensors, TfliteTensor

__all__ = ["ACCELERATORS", "LiteRTFile", "Signature", "SignatureTensor"]

ACCELERATORS = {CPU: 1, "gpu": 2, "npu": 4}  # LiteRtHwAccelerators
_AUTO_REGISTER_ACCELERATORS, _MIN_LOGGER_SEVERITY = 24, 25  # LiteRtEnvOptionTag
_WARNING = 2  # LiteRtLogSeverity


def _nothing_to_free(_payload: int) -> None:
    """Options want to destroy their payload; ours is Python's."""


_keep = PAYLOAD_DESTRUCTOR(_nothing_to_free)


@dataclass(frozen=True)
class SignatureTensor:
    """One tensor of a signature and the buffer that is kept for it."""

    tensor: TfliteTensor
    buffer: ctypes.c_void_p
    nbytes: int


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs in the manifest's order, and their buffers in the file's."""

    index: int
    inputs: tuple[SignatureTensor, ...]
    outputs: tuple[SignatureTensor, ...]
    input_buffers: ctypes.Array[ctypes.c_void_p]
    output_buffers: ctypes.Array[ctypes.c_void_p]


class LiteRTFile:
    """The handles of one file; whatever is made is destroyed when `stack` is closed."""

    def __init__(self, library: LiteRTLibrary, stack: ExitStack) -> None:
        self.library = library
        self._stack = stack

    def compile(self, path: Path, threads: int, accelerator: str) -> None:
        """Environment, model, options and compiled model."""
        chosen = ACCELERATORS[accelerator]
        settings = (EnvironmentOption * 2)(
            EnvironmentOption.of(_AUTO_REGISTER_ACCELERATORS, chosen | 1),
            EnvironmentOption.of(_MIN_LOGGER_SEVERITY, _WARNING),
        )
        self._environment = self._owned("Environment", "CreateEnvironment", 2, settings)
        self._model = self._owned(
            "Model", "CreateModelFromFile", self._environment, os.fsencode(path)
        )
        options = self._owned("Options", "CreateOptions")
        self.library.call("SetOptionsHardwareAccelerators", options, chosen)
        # TOML that is read while compiling; it must live as long as the options that point to it
        self._settings = ctypes.create_string_buffer(f"num_threads = {threads}\n".encode())
        cpu = self.library.made("CreateOpaqueOptions", b"xnnpack", self._settings, _keep)
        self.library.call("AddOpaqueOptions", options, cpu)  # which then owns them
        self.compiled = self._owned(
            "CompiledModel", "CreateCompiledModel", self._environment, self._model, options
        )

    def signatures(self, described: Mapping[str, SignatureTensors]) -> dict[str, Signature]:
        """Every entry point with its buffers; `described` is `read_tflite` of the same file."""
        found = {}
        for index in range(self.library.counted("GetNumModelSignatures", self._model)):
            handle = self.library.made("GetModelSignature", self._model, index)
            name = self.library.named("GetSignatureKey", handle)
            # Of an input that is an output too LiteRT knows one tensor: with a buffer for each, the
            # run binds it to the second and the caller's input is never seen.
            shared: dict[int, tuple[ctypes.c_void_p, int]] = {}
            signature = described[name]
            inputs, taken = self._side(handle, index, "Input", signature.inputs, shared)
            outputs, given = self._side(handle, index, "Output", signature.outputs, shared)
            found[name] = Signature(index, inputs, outputs, taken, given)
        return found

    def _side(
        self,
        signature: ctypes.c_void_p,
        index: int,
        kind: str,
        tensors: Sequence[TfliteTensor],
        shared: dict[int, tuple[ctypes.c_void_p, int]],
    ) -> tuple[tuple[SignatureTensor, ...], ctypes.Array[ctypes.c_void_p]]:
        named = {tensor.name: tensor for tensor in tensors}
        filed = []
        for place in range(self.library.counted(f"GetNumSignature{kind}s", signature)):
            tensor = named[self.library.named(f"GetSignature{kind}Name", signature, place)]
            if tensor.index not in shared:
                shared[tensor.index] = self._buffer(signature, index, kind, place)
            filed.append(shared[tensor.index][0])
        kept = tuple(SignatureTensor(tensor, *shared[tensor.index]) for tensor in tensors)
        return kept, (ctypes.c_void_p * len(filed))(*filed)

    def _buffer(
        self, signature: ctypes.c_void_p, index: int, kind: str, place: int
    ) -> tuple[ctypes.c_void_p, int]:
        tensor = self.library.made(f"GetSignature{kind}TensorByIndex", signature, place)
        ranked = RankedTensorType()
        self.library.call("GetRankedTensorType", tensor, ctypes.byref(ranked))
        requirements = self.library.made(
            f"GetCompiledModel{kind}BufferRequirements", self.compiled, index, place
        )
        buffer = self._owned(
            "TensorBuffer",
            "CreateManagedTensorBufferFromRequirements",
            self._environment,
            ctypes.byref(ranked),
            requirements,
        )
        return buffer, self.library.counted("GetTensorBufferPackedSize", buffer)

    def _owned(self, kind: str, function: str, *arguments: object) -> ctypes.c_void_p:
        handle = self.library.made(function, *arguments)
        self._stack.callback(self.library.destroy, kind, handle)
        return handle

"""The tail that every peer serves: the bundle's own program, entered at a cut, torch on one thread.

Nothing of the companion server is in it, so that a peer's figures are its own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headtail.bundle import open_bundle
from headtail.tensors import Array, TensorSpec

__all__ = ["PeerTail"]


class PeerTail:
    """float32 arrays of the cut's tensors in, the model's outputs and the ms of compute out."""

    def __init__(self, bundle: Path, cut_id: str) -> None:
        from exporters.graphfile import TailProgram

        manifest = open_bundle(bundle, check=False).manifest
        folder, cut = open_bundle(bundle, check=False), manifest.cut(cut_id)
        tail = manifest.tails[0]
        program = TailProgram.read(folder.file(tail.program), folder.file(tail.weights))
        self.inputs: tuple[TensorSpec, ...] = cut.tensors
        self.outputs: tuple[TensorSpec, ...] = manifest.outputs
        self._module: Any = program.enter([spec.name for spec in cut.tensors])

    def run(self, arrays: Sequence[Array]) -> tuple[list[Array], float]:
        """Outputs and milliseconds; sets torch's threads, which belong to the calling thread."""
        import torch

        torch.set_num_threads(1)
        started = time.perf_counter()
        with torch.inference_mode():
            outputs = self._module(*(torch.from_numpy(array) for array in arrays))
        found = [output.numpy() for output in outputs]
        return found, (time.perf_counter() - started) * 1e3

    def unpack(self, body: bytes) -> list[Array]:
        """The inputs that lie one behind the other in `body`, raw little-endian float32."""
        values, arrays, start = np.frombuffer(bytearray(body), "<f4"), [], 0
        for spec in self.inputs:
            stop = start + math.prod(spec.shape)
            arrays.append(values[start:stop].reshape(spec.shape))
            start = stop
        return arrays

    @staticmethod
    def pack(arrays: Sequence[Array]) -> bytes:
        """The outputs one behind the other, raw little-endian float32."""
        return b"".join(np.ascontiguousarray(array, "<f4").tobytes() for array in arrays)

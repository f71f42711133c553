"""LiteRT on a desk: `ai_edge_litert`'s interpreter, one signature per entry point.

https://ai.google.dev/edge/litert/inference. XNNPACK is the interpreter's default delegate.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headtail.errors import IntegrityFault, RuntimeUnavailable
from headtail.runtimes.base import CPU, Capability, Entries, check_accelerator, check_threads
from headtail.runtimes.litert_border import Affine, in_order, quantized, real
from headtail.runtimes.memory import growth_since, resident_bytes
from headtail.runtimes.session import FileSession
from headtail.tensors import Array

__all__ = ["LiteRTDesk"]

_INSTALL = "pip install 'headtail[export]'"


class LiteRTDesk:
    """Runs `.tflite` files."""

    name = "litert"
    format = "litert"
    timing_kind = "host"
    accelerators = (CPU,)

    def probe(self) -> Capability:
        """Is `ai_edge_litert` installed?"""
        if importlib.util.find_spec("ai_edge_litert") is None:
            return Capability(False, reason=f"ai-edge-litert is not installed: {_INSTALL}")
        return Capability(True, version=importlib.metadata.version("ai-edge-litert"))

    def load(
        self,
        path: Path,
        *,
        entries: Entries,
        threads: int = 1,
        accelerator: str = CPU,
    ) -> LiteRTSession:
        """Load a `.tflite`; raises `IntegrityFault` if the interpreter refuses it."""
        check_accelerator(self, accelerator)
        check_threads(threads)
        capability = self.probe()
        if not capability.available:
            raise RuntimeUnavailable(
                "LiteRT cannot be loaded.", expected=capability.reason, remedy=f"Run {_INSTALL}."
            )
        from ai_edge_litert.interpreter import Interpreter

        before = resident_bytes()
        try:
            interpreter = Interpreter(model_path=str(path), num_threads=threads)
            runners = {
                name: interpreter.get_signature_runner(name)
                for name in interpreter.get_signature_list()
            }
        except (ValueError, RuntimeError) as error:
            raise IntegrityFault(
                f"LiteRT cannot read {path.name}: {str(error).strip()[:200]}",
                file=path.name,
                expected="A complete .tflite file with signatures.",
                remedy="Export the model again.",
            ) from error
        return LiteRTSession(
            path.name, interpreter, runners, entries, memory_bytes=growth_since(before)
        )


class LiteRTSession(FileSession):
    """One loaded `.tflite`."""

    def __init__(
        self,
        file: str,
        interpreter: Any,
        runners: Mapping[str, Any],
        entries: Entries,
        *,
        memory_bytes: int | None,
    ) -> None:
        self._interpreter: Any = interpreter  # owns the memory the runners point into
        self._runners = dict(runners)
        self._details = {
            name: (_in_order(runner.get_input_details()), _in_order(runner.get_output_details()))
            for name, runner in self._runners.items()
        }
        super().__init__(file, self._details, entries, memory_bytes=memory_bytes)

    def _compute(self, entry: str, inputs: Sequence[Array]) -> list[Array]:
        details, outputs = self._details[entry]
        feed = {
            name: quantized(array, affine)
            for (name, affine), array in zip(details, inputs, strict=True)
        }
        results = self._runners[entry](**feed)
        return [
            real(results[name], affine, spec)
            for (name, affine), spec in zip(outputs, self.outputs(entry), strict=True)
        ]

    def _release(self) -> None:
        self._runners.clear()
        self._interpreter = None


def _in_order(details: Mapping[str, Any]) -> list[tuple[str, Affine]]:
    return [
        (name, Affine(np.dtype(details[name]["dtype"]), *details[name]["quantization"]))
        for name in in_order(details)
    ]

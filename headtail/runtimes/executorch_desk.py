"""ExecuTorch on a desk: the wheel's own runtime (XNNPACK delegate), one method per entry point.

https://docs.pytorch.org/executorch/stable/runtime-python-api-reference.html. Its Python binding
needs torch, which is why this is the one file of the core that imports it, and only when a model is
loaded. The runtime checks the outer file only: of files with a changed byte some end the process,
so a stranger's is hashed against its manifest first (`headtail.bundle`) or run in a process of its
own (`exporters.worker`).
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headtail.errors import IntegrityFault, RuntimeUnavailable
from headtail.runtimes.base import CPU, Capability, Entries, check_accelerator, check_threads
from headtail.runtimes.memory import growth_since, resident_bytes
from headtail.runtimes.session import FileSession
from headtail.tensors import Array

__all__ = ["ExecuTorchDesk"]

_INSTALL = "pip install 'headtail[export]'"


class ExecuTorchDesk:
    """Runs `.pte` files."""

    name = "executorch"
    format = "executorch"
    timing_kind = "host"
    accelerators = (CPU,)

    def probe(self) -> Capability:
        """Are `executorch` and `torch` installed?"""
        for package in ("executorch", "torch"):
            if importlib.util.find_spec(package) is None:
                return Capability(False, reason=f"{package} is not installed: {_INSTALL}")
        return Capability(True, version=importlib.metadata.version("executorch"))

    def load(
        self,
        path: Path,
        *,
        entries: Entries,
        threads: int = 1,
        accelerator: str = CPU,
    ) -> ExecuTorchSession:
        """Load a `.pte`; raises `IntegrityFault` if the runtime refuses it.

        `threads` sets ExecuTorch's thread pool, which is one per process: the last load decides.
        """
        check_accelerator(self, accelerator)
        check_threads(threads)
        capability = self.probe()
        if not capability.available:
            raise RuntimeUnavailable(
                "ExecuTorch cannot be loaded.",
                expected=capability.reason,
                remedy=f"Run {_INSTALL}.",
            )
        with warnings.catch_warnings():
            # said of the whole binding, once, when it is imported
            warnings.filterwarnings("ignore", "This API is experimental")
            from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
            from executorch.runtime import Runtime, Verification

        before = resident_bytes()
        _unsafe_reset_threadpool(threads)
        try:
            # InternalConsistency checks the flatbuffer; Minimal would trust offsets in the file
            program = Runtime.get().load_program(
                path, verification=Verification.InternalConsistency
            )
            methods = {name: program.load_method(name) for name in sorted(program.method_names)}
        except (RuntimeError, ValueError) as error:
            raise IntegrityFault(
                f"ExecuTorch cannot read {path.name}: {str(error).strip()[:200]}",
                file=path.name,
                expected="A complete .pte file for this runtime's version.",
                remedy="Export the model again, or update executorch.",
            ) from error
        return ExecuTorchSession(path.name, methods, entries, memory_bytes=growth_since(before))


class ExecuTorchSession(FileSession):
    """One loaded `.pte`."""

    def __init__(
        self, file: str, methods: Mapping[str, Any], entries: Entries, *, memory_bytes: int | None
    ) -> None:
        self._methods = dict(methods)
        found = {name: method.metadata for name, method in methods.items()}
        held = {name: (range(m.num_inputs()), range(m.num_outputs())) for name, m in found.items()}
        super().__init__(file, held, entries, memory_bytes=memory_bytes)

    def _compute(self, entry: str, inputs: Sequence[Array]) -> list[Array]:
        import torch

        # a writable copy where numpy's array is read-only, which torch cannot express
        tensors = [torch.from_numpy(np.require(a, requirements=["C", "W"])) for a in inputs]
        return [np.array(tensor.numpy()) for tensor in self._methods[entry].execute(tensors)]

    def _release(self) -> None:
        self._methods.clear()

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

from headtail.errors import IntegrityFault, RuntimeUnavailable, UnknownName
from headtail.runtimes.base import Capability, check_counts, closed_session
from headtail.tensors import Array, TensorSpec, check_arrays

__all__ = ["ExecuTorchDesk"]

_INSTALL = "pip install 'headtail[export]'"


class ExecuTorchDesk:
    """Runs `.pte` files."""

    name = "executorch"
    format = "executorch"
    timing_kind = "host"

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
        entries: Mapping[str, tuple[Sequence[TensorSpec], Sequence[TensorSpec]]],
        threads: int = 1,
    ) -> ExecuTorchSession:
        """Load a `.pte`; raises `IntegrityFault` if the runtime refuses it.

        `threads` sets ExecuTorch's thread pool, which is one per process: the last load decides.
        """
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
        return ExecuTorchSession(path.name, methods, entries)


class ExecuTorchSession:
    """One loaded `.pte`."""

    def __init__(
        self,
        file: str,
        methods: Mapping[str, Any],
        entries: Mapping[str, tuple[Sequence[TensorSpec], Sequence[TensorSpec]]],
    ) -> None:
        self._file = file
        self._methods = dict(methods)
        self._entries = entries
        self._closed = False
        for name in entries.keys() & self._methods.keys():
            found = self._methods[name].metadata
            numbers = range(found.num_inputs()), range(found.num_outputs())
            check_counts(f"{file}, {name}", numbers, entries[name])

    def entry_points(self) -> list[str]:
        """Method names, `forward` first."""
        return sorted(self._methods, key=lambda name: (name != "forward", name))

    def run(self, entry: str, inputs: Sequence[Array]) -> list[Array]:
        """See `Session.run`."""
        import torch

        if self._closed:
            raise closed_session(self._file)
        if entry not in self._methods or entry not in self._entries:
            raise UnknownName(f"entry point of {self._file}", entry, self._methods)
        wanted, given = self._entries[entry]
        check_arrays(inputs, wanted)
        # a writable copy where numpy's array is read-only, which torch cannot express
        tensors = [torch.from_numpy(np.require(a, requirements=["C", "W"])) for a in inputs]
        results = [np.array(tensor.numpy()) for tensor in self._methods[entry].execute(tensors)]
        check_arrays(results, given)
        return results

    def close(self) -> None:
        """Free the methods."""
        self._methods.clear()
        self._closed = True

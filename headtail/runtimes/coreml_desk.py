"""Core ML on a Mac's desk, by coremltools' `MLModel.predict`: no Xcode, no bridge.

https://apple.github.io/coremltools/docs-guides/source/model-prediction.html. One `MLModel` per
entry point (macOS 15 for several functions), compiled each time it is loaded. Nobody has run this
on a Mac yet; the tests do so with a stand-in for `MLModel`.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from headtail.errors import ConversionFailed, IntegrityFault, RuntimeUnavailable
from headtail.runtimes.base import CPU, Capability, Entries, check_accelerator
from headtail.runtimes.coreml_package import PackageFunction, checked_functions, in_manifest_order
from headtail.runtimes.session import FileSession
from headtail.tensors import Array, TensorSpec

__all__ = ["CoreMLDesk", "open_by_coremltools"]

_INSTALL = "pip install 'headtail[export]'"
_UNITS = {CPU: "CPU_ONLY", "gpu": "CPU_AND_GPU", "npu": "CPU_AND_NE"}  # of coremltools.ComputeUnit
_FIRST_MACOS = 15


class Model(Protocol):
    """As much of `coremltools.models.MLModel` as is used."""

    def predict(self, data: dict[str, Array]) -> Mapping[str, Any]:
        """Outputs by name."""
        ...


# (package, function or None for the default, name of the compute units) -> model
Opener = Callable[[Path, str | None, str], Model]


class CoreMLDesk:
    """Runs `.mlpackage` folders where coremltools can. `opener` stands in for coremltools."""

    name = "coreml-desk"
    format = "coreml"
    timing_kind = "host"
    accelerators = tuple(_UNITS)

    def __init__(self, opener: Opener | None = None) -> None:
        self._opener = opener

    def probe(self) -> Capability:
        """Is this macOS 15 or newer, with coremltools?"""
        if self._opener is not None:
            return Capability(True, version="stand-in")
        if sys.platform != "darwin":
            return Capability(False, reason="Core ML exists on macOS and iOS only: use a Mac")
        if importlib.util.find_spec("coremltools") is None:
            return Capability(False, reason=f"coremltools is not installed: {_INSTALL}")
        system = platform.mac_ver()[0]
        if int(system.partition(".")[0]) < _FIRST_MACOS:
            needed = f"several functions in one file need macOS {_FIRST_MACOS}: update the system"
            return Capability(False, reason=f"This is macOS {system}; {needed}")
        return Capability(True, version=importlib.metadata.version("coremltools"))

    def load(
        self, path: Path, *, entries: Entries, threads: int = 1, accelerator: str = CPU
    ) -> CoreMLDeskSession:
        """Open each of `entries`; raises what `Runtime.load` lists, and `UnknownName` for an entry
        that the package lacks. `threads` is not used: Core ML offers no such choice."""
        check_accelerator(self, accelerator)
        capability = self.probe()
        if not capability.available:
            raise RuntimeUnavailable(
                "Core ML cannot be loaded.", expected=f"{capability.reason}.", remedy="Use a Mac."
            )
        functions = checked_functions(path, entries)
        opener = self._opener or open_by_coremltools
        models = {
            entry: opener(path, functions[entry].function, _UNITS[accelerator]) for entry in entries
        }
        return CoreMLDeskSession(path.name, functions, models, entries)


class CoreMLDeskSession(FileSession):
    """One loaded package."""

    def __init__(
        self,
        file: str,
        functions: Mapping[str, PackageFunction],
        models: dict[str, Model],
        entries: Entries,
    ) -> None:
        self._functions, self._models = functions, models
        held = {name: (own.inputs, own.outputs) for name, own in functions.items()}
        super().__init__(file, held, entries, memory_bytes=None)

    def _compute(self, entry: str, inputs: Sequence[Array]) -> list[Array]:
        own, given = self._functions[entry], self.inputs(entry)
        names = in_manifest_order(own.inputs, given)
        dense = (np.ascontiguousarray(array).reshape(array.shape or (1,)) for array in inputs)
        feed = dict(zip(names, dense, strict=True))
        try:
            results = self._models[entry].predict(feed)
        except Exception as error:  # coremltools raises bare Exceptions
            raise ConversionFailed(
                f"Core ML cannot run {self._file}, {entry}: {str(error).strip()[:200]}",
                expected="A prediction ends with a result for each output.",
                remedy="Try another accelerator or another format of the bundle.",
            ) from error
        specs = self.outputs(entry)
        ordered = in_manifest_order(own.outputs, specs)
        return [_given(results[name], spec) for name, spec in zip(ordered, specs, strict=True)]

    def _release(self) -> None:
        self._models.clear()


def open_by_coremltools(path: Path, function: str | None, units: str) -> Model:
    """One function, None for the default; `IntegrityFault` if coremltools cannot load it."""
    import coremltools as ct

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # all it says of a model it cannot load
            model: Model = ct.models.MLModel(
                str(path), function_name=function, compute_units=ct.ComputeUnit[units]
            )
    except (RuntimeError, RuntimeWarning, ValueError) as error:
        raise IntegrityFault(
            f"Core ML cannot open {path.name}: {str(error).strip()[:200]}",
            file=path.name,
            expected="A complete .mlpackage that this system's Core ML can compile.",
            remedy="Export the model again.",
        ) from error
    return model


def _given(value: Any, spec: TensorSpec) -> Array:
    array: Array = np.asarray(value)
    if np.can_cast(array.dtype, spec.numpy_dtype, casting="same_kind"):
        array = array.astype(spec.numpy_dtype)
    return array

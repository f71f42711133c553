"""Core ML on iOS and macOS, through the Objective-C bridge of `ios/` and ctypes.

A package is compiled on the device when it is first loaded, and the result is kept in the app's
caches under the SHA-256 of the package; the system may empty them, then it is compiled again. Each
entry point is a function of the package (iOS 18, macOS 15:
https://apple.github.io/coremltools/docs-guides/source/multifunction-models.html) and costs a load
of its own, so pass only the entries that will be run. Core ML picks its own number of threads.
"""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headtail.errors import (
    ConversionFailed,
    EnvironmentFault,
    HeadtailError,
    IntegrityFault,
    RuntimeUnavailable,
    TensorMismatch,
    UsageFault,
)
from headtail.runtimes.base import CPU, Capability, Entries, check_accelerator
from headtail.runtimes.coreml_library import Bridge, BridgeFault, Feature, Side, Status, open_bridge
from headtail.runtimes.coreml_package import (
    PackageFunction,
    checked_functions,
    content_key,
    in_manifest_order,
)
from headtail.runtimes.session import FileSession
from headtail.tensors import Array, TensorSpec

__all__ = ["CoreMLBridge"]

# MLComputeUnits: CPUOnly, CPUAndGPU, CPUAndNeuralEngine. Core ML runs on the CPU what the other
# cannot; there is no way to forbid that.
UNITS = {CPU: 0, "gpu": 1, "npu": 3}
_OTHER_RUNTIMES = "or run the model on the companion server"


class CoreMLBridge:
    """Runs `.mlpackage` folders.

    `library` is the bridge as a dylib; None where it is linked into the app, as on iOS. `cache` is
    where compiled models are kept; None is the app's caches. `timing_kind` is `device` in an app on
    a phone, and `host` in Apple's simulator and on a desk.
    """

    name = "coreml"
    format = "coreml"
    accelerators = tuple(UNITS)

    def __init__(self, library: Path | None = None, *, cache: Path | None = None) -> None:
        self._library = library
        self._cache = cache
        phone = os.environ.get("KIVY_BUILD") == "ios" and "SIMULATOR_UDID" not in os.environ
        self.timing_kind = "device" if phone else "host"

    def probe(self) -> Capability:
        """Is the bridge here, and is the system new enough for several functions in one model?"""
        try:
            return Capability(True, version=_opened(self._library)[1])
        except RuntimeUnavailable as fault:
            return Capability(False, reason=str(fault))

    def load(
        self, path: Path, *, entries: Entries, threads: int = 1, accelerator: str = CPU
    ) -> CoreMLSession:
        """Compile the package if that was not done before, and open each of `entries`.

        `threads` is not used: Core ML offers no such choice. Raises what `Runtime.load` lists,
        `UnknownName` for an entry the package lacks, `EnvironmentFault` if there is no room for the
        compiled model.
        """
        check_accelerator(self, accelerator)
        bridge, version = _opened(self._library)
        functions = checked_functions(path, entries)
        before = bridge.footprint()
        store = _Store(bridge, path, self._cache, f"{content_key(path)}-{_plain(version)}")
        with _told(path.name):
            opened = store.open([functions[entry] for entry in entries], UNITS[accelerator])
        bound = dict(zip(entries, opened, strict=True))
        after = bridge.footprint()
        grown = None if before is None or after is None else max(0, after - before)
        return CoreMLSession(path.name, bridge, (functions, bound), entries, memory_bytes=grown)


@dataclass(frozen=True)
class _Opened:
    """One function that Core ML has loaded, with what it takes and gives in the file's order."""

    handle: int
    inputs: tuple[Feature, ...]
    outputs: tuple[Feature, ...]


@dataclass(frozen=True)
class _Store:
    """Where a package is compiled to and opened from."""

    bridge: Bridge
    package: Path
    cache: Path | None
    key: str

    def open(self, functions: Sequence[PackageFunction], units: int) -> list[_Opened]:
        """Open all functions or none; what a half-emptied cache holds is compiled once more."""
        try:
            return self._open(functions, units, again=False)
        except BridgeFault as fault:
            if fault.status != Status.FILE:
                raise
        return self._open(functions, units, again=True)

    def _open(
        self, functions: Sequence[PackageFunction], units: int, *, again: bool
    ) -> list[_Opened]:
        compiled = self.bridge.compile(self.package, cache=self.cache, key=self.key, again=again)
        opened: list[_Opened] = []
        handles: list[int] = []
        try:
            for function in functions:
                handles.append(self.bridge.open(compiled, function.function, units=units))
                opened.append(_described(self.bridge, handles[-1], function))
        except BaseException:
            _close_all(self.bridge, handles)
            raise
        return opened


class CoreMLSession(FileSession):
    """One loaded package."""

    def __init__(
        self,
        file: str,
        bridge: Bridge,
        held: tuple[Mapping[str, PackageFunction], Mapping[str, _Opened]],
        entries: Entries,
        *,
        memory_bytes: int | None,
    ) -> None:
        functions, self._bound = held
        self._bridge = bridge
        handles = [opened.handle for opened in self._bound.values()]
        # Core ML's memory is not Python's: a session that nobody closed gives it back as well
        self._free = weakref.finalize(self, _close_all, bridge, handles)
        named = {name: (own.inputs, own.outputs) for name, own in functions.items()}
        super().__init__(file, named, entries, memory_bytes=memory_bytes)

    def _compute(self, entry: str, inputs: Sequence[Array]) -> list[Array]:
        opened, specs = self._bound[entry], self.outputs(entry)
        own_inputs = _ordered(opened.inputs, self.inputs(entry))
        own_outputs = _ordered(opened.outputs, specs)
        feed = {f.name: _fed(array, f) for f, array in zip(own_inputs, inputs, strict=True)}
        rooms = {
            f.name: np.empty(spec.shape or (1,), f.dtype)
            for f, spec in zip(own_outputs, specs, strict=True)
        }
        with _told(f"{self._file}, {entry}"):
            results = self._bridge.predict(opened.handle, feed, rooms)
        return [_given(array, spec) for array, spec in zip(results, specs, strict=True)]

    def _release(self) -> None:
        self._free()


def _opened(library: Path | None) -> tuple[Bridge, str]:
    bridge = open_bridge(library)
    version, functions = bridge.system()
    if not functions:
        raise RuntimeUnavailable(
            f"This system is {version}.",
            expected="Core ML files of Headtail hold several functions: iOS 18 or macOS 15.",
            remedy=f"Update the system, {_OTHER_RUNTIMES}.",
        )
    return bridge, version


def _described(bridge: Bridge, handle: int, function: PackageFunction) -> _Opened:
    inputs = bridge.describe(handle, Side.INPUTS)
    outputs = bridge.describe(handle, Side.OUTPUTS)
    for names, found in ((function.inputs, inputs), (function.outputs, outputs)):
        if sorted(names) != sorted(found):
            raise BridgeFault(
                Status.TENSOR, f"Core ML lists {sorted(found)}, the file {sorted(names)}."
            )
    return _Opened(
        handle,
        tuple(inputs[name] for name in function.inputs),
        tuple(outputs[name] for name in function.outputs),
    )


def _ordered(features: Sequence[Feature], specs: Sequence[TensorSpec]) -> list[Feature]:
    named = {feature.name: feature for feature in features}
    return [named[name] for name in in_manifest_order(list(named), specs)]


def _fed(array: Array, feature: Feature) -> Array:
    """Dense, in the model's dtype: the array itself if it is both already."""
    if not np.can_cast(array.dtype, feature.dtype, casting="same_kind"):
        raise TensorMismatch(
            f"Input {feature.name!r} is {array.dtype.name}.",
            expected=f"Core ML takes it as {feature.dtype.name}.",
            remedy="Export the model again; file and manifest do not belong together.",
        )
    dense = np.ascontiguousarray(array, dtype=feature.dtype)
    return dense.reshape(dense.shape or (1,))


def _given(array: Array, spec: TensorSpec) -> Array:
    """In the manifest's dtype where that is of the same kind; the session checks the rest."""
    if np.can_cast(array.dtype, spec.numpy_dtype, casting="same_kind"):
        return array.astype(spec.numpy_dtype, copy=False)
    return array


def _plain(version: str) -> str:
    """`Version 18.1 (Build 22B83)` as a part of a file name; another system compiles anew."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", version).strip("-.")[:60]


def _close_all(bridge: Bridge, handles: Sequence[int]) -> None:
    for handle in handles:
        with suppress(BridgeFault):  # closed already
            bridge.close(handle)


@contextmanager
def _told(where: str) -> Iterator[None]:
    try:
        yield
    except BridgeFault as fault:
        raise _error(fault, where) from None


def _error(fault: BridgeFault, where: str) -> HeadtailError:
    file = where.partition(",")[0]
    what = f"Core ML cannot run {where}: {fault.said}"
    if fault.status == Status.FILE:
        return IntegrityFault(
            f"Core ML cannot open {where}: {fault.said}",
            file=file,
            expected="A complete .mlpackage that this system's Core ML can compile.",
            remedy="Download the bundle again, or export the model again.",
        )
    if fault.status == Status.TENSOR:
        return TensorMismatch(
            what,
            expected="The file takes and gives the tensors that the manifest lists.",
            remedy="Export the model again; file and manifest do not belong together.",
        )
    if fault.status == Status.DISK:
        return EnvironmentFault(
            f"The compiled {where} cannot be kept: {fault.said}",
            expected="Core ML compiles a model once and needs room for the result.",
            remedy="Free some memory on this device and load the model again.",
        )
    if fault.status == Status.PREDICTION:
        return ConversionFailed(
            what,
            expected="A prediction ends with a result for each output.",
            remedy="Try another accelerator or another format of the bundle.",
        )
    return UsageFault(
        what, expected="The model is open and is given its inputs.", remedy="Load the model again."
    )

"""The reference interpreter as a Headtail runtime: Core ML packages off a Mac.

It proves what the file computes when it is read as the MIL specification says. It does not prove
Apple's compiler, GPU or Neural Engine; reports say "reference interpreter, not Apple hardware".
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from exporters.mil.evaluation import Function, Mode, Program, State
from exporters.mil.values import Value
from headtail.errors import TensorMismatch, UnknownName, UsageFault
from headtail.runtimes.base import CPU, Capability, Entries, check_accelerator
from headtail.tensors import Array, TensorSpec, check_array

__all__ = ["MilRuntime", "MilSession"]

SINGLE_FUNCTION = "main"  # what coremltools calls the function of a single-function package
DEFAULT_ENTRY = "forward"


class MilRuntime:
    """Implements `headtail.runtimes.base.Runtime` for `.mlpackage`.

    `mode` says how activations are rounded: `declared` as the file says (float16 loss shows),
    `fp32` not at all (for an exact comparison of weights and structure).
    """

    name = "mil-interpreter"
    format = "coreml"
    timing_kind = "emulated"  # the interpreter's own time says nothing about an Apple device
    accelerators = (CPU,)

    def __init__(self, mode: Mode = Mode.DECLARED) -> None:
        self.mode = mode

    def probe(self) -> Capability:
        """Usable where coremltools is installed; its protobuf classes are what is needed."""
        if importlib.util.find_spec("coremltools") is None:
            return Capability(
                False, reason="coremltools is not installed: pip install 'headtail[export]'"
            )
        return Capability(
            True, version=f"torch {torch.__version__}, proto {version('coremltools')}"
        )

    def load(
        self, path: Path, *, entries: Entries, threads: int = 1, accelerator: str = CPU
    ) -> MilSession:
        """Read the package; every entry must be a function that takes and gives those tensors."""
        check_accelerator(self, accelerator)
        functions = Program(path).functions
        if list(functions) == [SINGLE_FUNCTION]:
            functions = {DEFAULT_ENTRY: functions[SINGLE_FUNCTION]}
        bound = {}
        for entry, (inputs, outputs) in entries.items():
            if entry not in functions:
                raise UnknownName("entry point", entry, functions)
            bound[entry] = _bind(path, functions[entry], inputs, outputs)
        return MilSession(functions, bound, mode=self.mode, threads=threads)


@dataclass(frozen=True)
class _Entry:
    """One entry point: the manifest's specs and where they sit in the function's own order."""

    function: Function
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    input_places: tuple[int, ...]  # function input i is manifest input input_places[i]
    output_places: tuple[int, ...]  # manifest output i is function output output_places[i]


class MilSession:
    """One loaded package; implements `headtail.runtimes.base.Session`.

    The states of an entry point are zero at first and live as long as the session, or until
    `reset_states`.
    """

    def __init__(
        self,
        functions: Mapping[str, Function],
        bound: Mapping[str, _Entry],
        *,
        mode: Mode,
        threads: int,
    ) -> None:
        self._names = tuple(functions)
        self._bound = dict(bound)
        self._mode = mode
        self._threads = threads
        self._closed = False
        self._states: dict[str, State] = {}
        self.reset_states()

    def reset_states(self) -> None:
        """All states are zero again."""
        self._states = {entry: e.function.new_state() for entry, e in self._bound.items()}

    def entry_points(self) -> Sequence[str]:
        """Functions of the package, the default one first."""
        return self._names

    def inputs(self, entry: str) -> tuple[TensorSpec, ...]:
        """See `headtail.runtimes.base.Session.inputs`."""
        return self._of(entry).inputs

    def outputs(self, entry: str) -> tuple[TensorSpec, ...]:
        """See `headtail.runtimes.base.Session.outputs`."""
        return self._of(entry).outputs

    def memory_bytes(self) -> None:
        """Not told: what the interpreter takes says nothing about an Apple device."""

    def run(self, entry: str, inputs: Sequence[Array]) -> list[Array]:
        """Arrays in and out in the manifest's order, dtypes and shapes."""
        if self._closed:
            raise UsageFault(
                "The session is closed.",
                expected="A session is used before it is closed.",
                remedy="Load the artifact again.",
            )
        bound = self._of(entry)
        _check_count(entry, "inputs", len(bound.inputs), len(inputs))
        for array, spec in zip(inputs, bound.inputs, strict=True):
            check_array(array, spec)
        tensors = [_tensor(inputs[place]) for place in bound.input_places]
        with _threads(self._threads):
            results = bound.function.values(tensors, mode=self._mode, state=self._states[entry])
        return [
            _array(results[place], spec)
            for place, spec in zip(bound.output_places, bound.outputs, strict=True)
        ]

    def close(self) -> None:
        """Give the decoded weights back."""
        self._bound.clear()
        self._states.clear()
        self._closed = True

    def _of(self, entry: str) -> _Entry:
        if entry not in self._bound:
            raise UnknownName("entry point", entry, self._bound)
        return self._bound[entry]


def _bind(
    path: Path, function: Function, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> _Entry:
    code = function.code
    own_inputs = [name for name, _ in code.inputs]
    label = f"{path} function {code.name!r}"
    _check_count(label, "inputs", len(own_inputs), len(inputs))
    _check_count(label, "outputs", len(code.outputs), len(outputs))
    return _Entry(
        function,
        tuple(inputs),
        tuple(outputs),
        tuple(_places(own_inputs, [spec.name for spec in inputs])),
        tuple(_places([spec.name for spec in outputs], list(code.outputs))),
    )


def _places(wanted: list[str], have: list[str]) -> list[int]:
    """Index in `have` for each of `wanted`: by name if they are the same names, else by position.

    Core ML renames tensors that are not identifiers or clash with others.
    """
    if sorted(wanted) == sorted(have):
        return [have.index(name) for name in wanted]
    return list(range(len(wanted)))


def _check_count(label: str, kind: str, expected: int, got: int) -> None:
    if expected != got:
        raise TensorMismatch(
            f"{label}: {got} {kind} were given.",
            expected=f"It has {expected}.",
            remedy="Use the tensors the manifest lists for this entry point.",
        )


def _tensor(array: Array) -> torch.Tensor:
    """A tensor the interpreter can read: floats as float32, the input array is never written to."""
    widened = array.astype("float32") if array.dtype.kind == "f" else array.copy()
    return torch.from_numpy(widened)


def _array(value: Value, spec: TensorSpec) -> Array:
    """The result as the manifest declares it; Core ML returns a scalar as shape (1,).

    The dictionary of a classifier is given as its probabilities in the order of the classes.
    """
    if isinstance(value, dict):
        value = torch.tensor(list(value.values()), dtype=torch.float32)
    if not isinstance(value, torch.Tensor):
        raise TensorMismatch(
            f"Output {spec.name!r} is a class label, {value!r}.",
            expected=f"The manifest lists {spec}.",
            remedy="Export the model without a classifier configuration.",
        )
    array: Array = value.numpy()
    if array.size == 1 and {array.shape, spec.shape} == {(), (1,)}:
        array = array.reshape(spec.shape)
    same_kind = (array.dtype.kind == "f") == (spec.numpy_dtype.kind == "f")
    if array.shape != spec.shape or not same_kind:
        raise TensorMismatch(
            f"Output {spec.name!r} is {array.dtype.name}{list(array.shape)}.",
            expected=f"The manifest lists {spec}.",
            remedy="Export the model again, or correct the manifest.",
        )
    return array.astype(spec.numpy_dtype)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """torch's thread count is global; other users of torch in this process get theirs back."""
    before = torch.get_num_threads()
    if before != count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if before != count:
            torch.set_num_threads(before)

"""Evaluating one function of a MIL program with torch, one operator after the other.

Every result is compared with its declared type before it is used: shape (unknown sizes match
anything), category (float, int, bool) and, for integers narrower than 32 bits, the width, because
rounding to a wrong declared type would hide the error. Then it is rounded, depending on the mode:

`declared`  to the declared type, so that float16 overflow and loss show
`fp32`      not at all: constants keep the rounding they are stored with, activations are float32
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path

import torch

from exporters.mil.growth import check_growth
from exporters.mil.optable import Arguments
from exporters.mil.package import Package
from exporters.mil.program import BlockCode, FunctionCode, Step, read_program
from exporters.mil.settling import described, fits, is_a, rounded
from exporters.mil.values import StateCell, TensorType, Value, ValueType
from headtail.errors import TensorMismatch, UnknownName

__all__ = ["Function", "Mode", "Program", "State", "Watch"]

Watch = Callable[[str, torch.Tensor], None]
State = dict[str, StateCell]
MAX_BLOCK_RUNS = 200_000  # of all nested blocks in one run: a loop that never ends takes a minute
# What torch and the accessors of `Arguments` raise for inputs that do not fit an operator.
MISFITS = (
    ArithmeticError,
    AssertionError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)


class Mode(StrEnum):
    """How activations are rounded."""

    DECLARED = "declared"
    FP32 = "fp32"


class Program:
    """A package opened and checked. `functions` has the default function first."""

    def __init__(self, path: Path) -> None:
        code = read_program(path)
        self.package = code.package
        self.functions = {name: Function(c, code.package) for name, c in code.functions.items()}

    def function(self, name: str) -> Function:
        """The function called `name`, as the package names it."""
        if name not in self.functions:
            raise UnknownName("function", name, self.functions)
        return self.functions[name]


class Function:
    """A function ready to run. Constants are decoded once, at the first run."""

    def __init__(self, code: FunctionCode, package: Package) -> None:
        self.code = code
        self._package = package
        self._constants: dict[str, Value] | None = None

    def run(
        self,
        inputs: Sequence[torch.Tensor],
        *,
        mode: Mode = Mode.DECLARED,
        watch: Watch | None = None,
        state: State | None = None,
    ) -> list[torch.Tensor]:
        """Outputs in program order, floats as torch.float32; `watch` sees every tensor by name.

        `inputs` come in program order, without the states; their shapes and categories must be the
        declared ones. `state` is changed; a run without one starts from zeros.
        """
        values = self.values(inputs, mode=mode, watch=watch, state=state)
        tensors = [value for value in values if isinstance(value, torch.Tensor)]
        if len(tensors) != len(values):
            raise TensorMismatch(
                f"Function {self.code.name!r} returns more than tensors.",
                expected="A classifier returns a label and a dictionary of probabilities.",
                remedy="Use `values`, or `exporters.mil.prediction.Model`.",
            )
        return tensors

    def values(
        self,
        inputs: Sequence[torch.Tensor],
        *,
        mode: Mode = Mode.DECLARED,
        watch: Watch | None = None,
        state: State | None = None,
    ) -> list[Value]:
        """Like `run`; class labels are str or an integer tensor, probabilities a dict."""
        if len(inputs) != len(self.code.inputs):
            raise TensorMismatch(
                f"Function {self.code.name!r} got {len(inputs)} inputs.",
                expected=f"It takes {', '.join(name for name, _ in self.code.inputs) or 'none'}.",
                remedy="Give them in this order.",
            )
        with torch.no_grad():
            run = _Run(self.code.opset, self._package, dict(self._decoded()), mode, watch)
            cells = self.new_state() if state is None else state
            for name, kind in self.code.states:
                run.values[name] = _cell(cells, name, str(kind))
            for (name, declared), tensor in zip(self.code.inputs, inputs, strict=True):
                run.values[name] = run.settle(f"input {name!r}", tensor, declared)
            run.steps(self.code.steps)
            return [run.values[name] for name in self.code.outputs]

    def new_state(self) -> State:
        """The states of this function, all zero. The caller keeps it between runs."""
        cells = {}
        for name, kind in self.code.states:
            sizes, dtype = kind.wrapped.shape, kind.wrapped.dtype.carried
            if sizes is None or None in sizes or dtype is None:
                raise self._package.fault(f"{name!r} is {kind}.", "A state has a known shape.")
            shape = [size for size in sizes if size is not None]
            cells[name] = StateCell(kind, torch.zeros(shape, dtype=dtype))
        return cells

    def constant(self, name: str) -> torch.Tensor:
        """A constant or decompressed weight by its name in the program."""
        return _as_tensor(self._decoded()[name])

    def _decoded(self) -> dict[str, Value]:
        if self._constants is None:
            # A decompressed weight is a constant: it has its stored precision in both modes.
            constants = dict(self.code.constants)
            run = _Run(self.code.opset, self._package, constants, Mode.DECLARED, None)
            run.steps(self.code.constant_steps)
            self._constants = run.values
        return self._constants


class _Run:
    """One evaluation: the values there are, and how they are rounded."""

    def __init__(
        self,
        opset: int,
        package: Package,
        values: dict[str, Value],
        mode: Mode,
        watch: Watch | None,
    ) -> None:
        self.values = values
        self._opset, self._package = opset, package
        self._rounds, self._watch = mode is Mode.DECLARED, watch
        self._block_runs = 0

    def steps(self, steps: Sequence[Step]) -> None:
        """Compute `steps` one after the other, forgetting what nobody reads any more."""
        values = self.values
        for step in steps:
            self._step(step)
            for name in step.frees:
                values.pop(name, None)  # a block that did not run has left nothing

    def settle(self, label: str, value: Value, declared: ValueType) -> Value:
        """`value`, checked against its declared type and rounded to it."""
        if not isinstance(declared, TensorType):
            if not is_a(value, declared):
                raise self._package.fault(
                    f"{label} is a {type(value).__name__}.", f"The program declares {declared}."
                )
            return value
        if isinstance(value, str) and declared.dtype.category == "string":
            return value
        tensor = value if isinstance(value, torch.Tensor) else None
        if tensor is None or not fits(tensor, declared):
            is_ = type(value).__name__ if tensor is None else described(tensor, declared)
            raise self._package.fault(f"{label} is {is_}.", f"The program declares {declared}.")
        return rounded(tensor, declared.dtype, self._rounds)

    def _step(self, step: Step) -> None:
        values = self.values
        given: dict[str, Value] = {
            key: values[b] if isinstance(b, str) else tuple(values[n] for n in b)
            for key, b in step.bindings.items()
        }
        blocks = [partial(self._block, block) for block in step.blocks]
        operation = step.operation
        arguments = Arguments(
            given, operation.optional, self._opset, blocks=blocks, gives_float=_gives_float(step)
        )
        try:
            check_growth(operation.name, arguments)
            result = operation.compute(arguments)
        except MISFITS as error:
            line = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise self._package.fault(
                f"{step.label} cannot be computed: {line}.",
                "The inputs of an operator fit each other and its attributes.",
            ) from error
        results = result if isinstance(result, tuple) else (result,)
        if len(results) != len(step.outputs):
            raise self._package.fault(
                f"{step.label} has {len(results)} results.",
                f"The program declares {len(step.outputs)}.",
            )
        for (name, declared), value in zip(step.outputs, results, strict=True):
            settled = values[name] = self.settle(step.label, value, declared)
            if self._watch is not None and isinstance(settled, torch.Tensor):
                self._watch(name, settled)

    def _block(self, block: BlockCode, *inputs: Value) -> tuple[Value, ...]:
        self._block_runs += 1
        if self._block_runs > MAX_BLOCK_RUNS:
            raise self._package.fault(
                f"nested blocks ran {MAX_BLOCK_RUNS} times and a loop has not ended.",
                "A loop ends after fewer steps.",
            )
        if len(inputs) != len(block.inputs):
            raise self._package.fault(
                f"a nested block is given {len(inputs)} values.", f"It takes {len(block.inputs)}."
            )
        for (name, declared), value in zip(block.inputs, inputs, strict=True):
            self.values[name] = self.settle(f"block input {name!r}", value, declared)
        self.steps(block.steps)
        return tuple(self.values[name] for name in block.outputs)


def _gives_float(step: Step) -> bool:
    kind = step.outputs[0][1] if step.outputs else None
    return isinstance(kind, TensorType) and kind.dtype.category == "float"


def _cell(cells: State, name: str, kind: str) -> StateCell:
    if name not in cells or str(cells[name].kind) != kind:
        raise TensorMismatch(
            f"The given state has {', '.join(f'{n} {c.kind}' for n, c in cells.items())}.",
            expected=f"The function has the state {name} {kind}.",
            remedy="Make the state with `new_state()` of the function that is run.",
        )
    return cells[name]


def _as_tensor(value: Value) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{value!r} is not a tensor")
    return value

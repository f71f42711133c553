"""Evaluating one function of a MIL program with torch, one operator after the other.

Every result is compared with its declared type before it is used: shape (unknown sizes match
anything) and category (float, int, bool), because rounding to a wrong declared type would hide the
error. Then it is rounded, depending on the mode:

`declared`  to the declared type, so that float16 overflow and loss show
`fp32`      not at all: constants keep the rounding they are stored with, activations are float32
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path

import torch

from exporters.mil.optable import Arguments, Result
from exporters.mil.package import Package
from exporters.mil.program import FunctionCode, Step, read_program
from exporters.mil.values import MilType, TensorType, Value
from headtail.errors import UnknownName

__all__ = ["Function", "Mode", "Program", "Watch"]

Watch = Callable[[str, torch.Tensor], None]
FLOAT16_BITS = 16
# What torch and the accessors of `Arguments` raise for inputs that do not fit an operator.
MISFITS = (RuntimeError, IndexError, ValueError, TypeError, KeyError, OverflowError)


class Mode(StrEnum):
    """How activations are rounded."""

    DECLARED = "declared"
    FP32 = "fp32"


class Program:
    """A package opened and checked. `functions` has the default function first."""

    def __init__(self, path: Path) -> None:
        code = read_program(path)
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
    ) -> list[torch.Tensor]:
        """Outputs in program order, floats as torch.float32; `watch` sees every result by name.

        `inputs` come in program order; their shapes and categories must be the declared ones.
        """
        with torch.no_grad():
            values = dict(self._decoded())
            for (name, declared), tensor in zip(self.code.inputs, inputs, strict=True):
                values[name] = self._settle(f"input {name!r}", tensor, declared, mode)
            for step in self.code.steps:
                self._step(step, values, mode)
                if watch is not None:
                    for name, _ in step.outputs:
                        watch(name, _as_tensor(values[name]))
                for name in step.frees:
                    del values[name]
            return [_as_tensor(values[name]) for name in self.code.outputs]

    def constant(self, name: str) -> torch.Tensor:
        """A constant or decompressed weight by its name in the program."""
        return _as_tensor(self._decoded()[name])

    def _decoded(self) -> dict[str, Value]:
        if self._constants is None:
            values = dict(self.code.constants)
            for step in self.code.constant_steps:
                # A decompressed weight is a constant: it has its stored precision in both modes.
                self._step(step, values, Mode.DECLARED)
            self._constants = values
        return self._constants

    def _step(self, step: Step, values: dict[str, Value], mode: Mode) -> None:
        given = {
            key: values[b] if isinstance(b, str) else tuple(_as_tensor(values[n]) for n in b)
            for key, b in step.bindings.items()
        }
        arguments = Arguments(given, step.operation.optional, self.code.opset)
        try:
            result: Result = step.operation.compute(arguments)
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
        for (name, declared), tensor in zip(step.outputs, results, strict=True):
            values[name] = self._settle(step.label, tensor, declared, mode)

    def _settle(
        self, label: str, tensor: torch.Tensor, declared: TensorType, mode: Mode
    ) -> torch.Tensor:
        shape, category = tuple(tensor.shape), _category(tensor)
        if category != declared.dtype.category or not declared.accepts(shape):
            raise self._package.fault(
                f"{label} is {category}{list(shape)}.", f"The program declares {declared}."
            )
        return _rounded(tensor, declared.dtype, mode)


def _rounded(tensor: torch.Tensor, declared: MilType, mode: Mode) -> torch.Tensor:
    """`tensor` as values of the declared type are carried."""
    assert declared.carried is not None
    if mode is Mode.DECLARED and declared.category == "float" and declared.bits == FLOAT16_BITS:
        tensor = tensor.to(torch.float16)
    return tensor.to(declared.carried)


def _category(tensor: torch.Tensor) -> str:
    if tensor.is_floating_point():
        return "float"
    return "bool" if tensor.dtype == torch.bool else "int"


def _as_tensor(value: Value) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{value!r} is not a tensor")
    return value

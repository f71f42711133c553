"""The MIL program inside a package: its functions as steps, checked before anything is computed.

What is read from the proto and nothing else: operators, their inputs by name, declared result
types. An operator or an input that is not supported is reported for the whole program at once.
Nested blocks (cond, while_loop) and states are not supported; vision networks have none.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exporters.mil.operators import OPERATIONS
from exporters.mil.optable import Operation
from exporters.mil.package import Package
from exporters.mil.values import MIL_TYPES, TensorType, Value, constant, tensor_type
from headtail.errors import ConversionFailed

__all__ = ["FunctionCode", "ProgramCode", "Step", "read_program"]

# Operators whose result may have another float precision than their data inputs.
CHANGES_PRECISION = frozenset({"cast", "quantize", "dequantize"})
# Stands for the results of operators that are not supported, whatever their types are.
OPAQUE = TensorType(MIL_TYPES[2], None)
LABEL_ATTRIBUTE = "name"  # what converters call the operator; every other attribute is an input


@dataclass(frozen=True)
class Step:
    """One operator of a function. `frees` names the values nobody reads after it."""

    operation: Operation
    bindings: dict[str, str | tuple[str, ...]]
    outputs: tuple[tuple[str, TensorType], ...]
    frees: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """How an error calls this step: operator and first result."""
        return f"{self.operation.name} {self.outputs[0][0]!r}"

    def reads(self) -> list[str]:
        """Names of all values the step reads."""
        return [n for b in self.bindings.values() for n in ((b,) if isinstance(b, str) else b)]


@dataclass
class FunctionCode:
    """One function: inputs and outputs with declared types, constants, steps in program order.

    `constant_steps` (the constexpr_* operators) read constants only and are computed once.
    """

    name: str
    opset: int
    inputs: tuple[tuple[str, TensorType], ...]
    outputs: tuple[str, ...] = ()
    constants: dict[str, Value] = field(default_factory=dict)
    constant_steps: list[Step] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class ProgramCode:
    """All functions of a package by name, the default function first."""

    package: Package
    functions: dict[str, FunctionCode]


def read_program(path: Path) -> ProgramCode:
    """Read and check every function of the package at `path`; nothing is evaluated."""
    package = Package(path)
    description, functions = package.model.description, package.model.mlProgram.functions
    first = description.defaultFunctionName or next(iter(sorted(functions)), "")
    if first not in functions:
        raise package.fault(
            f"the default function {first!r} is missing.",
            f"The program has the functions {sorted(functions)}.",
        )
    names = [f.name for f in description.functions if f.name in functions]
    ordered = dict.fromkeys([first, *names, *sorted(functions)])
    reader = _Reader(package)
    codes = {name: reader.function(name, functions[name]) for name in ordered}
    if reader.complaints:
        raise ConversionFailed(
            f"{path} cannot be evaluated: {'; '.join(sorted(reader.complaints))}.",
            expected=f"The reference interpreter knows {len(OPERATIONS)} operators and all their "
            "documented inputs.",
            remedy="Check this file with Core ML on a Mac, or write the model without these.",
        )
    return ProgramCode(package, codes)


class _Reader:
    """Turns proto functions into `FunctionCode`, collecting what is not supported."""

    def __init__(self, package: Package) -> None:
        self._package = package
        self.complaints: set[str] = set()
        self._shared: dict[tuple[str, int, str], Value] = {}

    def function(self, name: str, proto: Any) -> FunctionCode:
        if proto.opset not in proto.block_specializations:
            raise self._package.fault(
                f"function {name!r} has no block for its opset {proto.opset!r}.",
                f"It has blocks for {sorted(proto.block_specializations)}.",
            )
        block = proto.block_specializations[proto.opset]
        digits = re.search(r"\d+$", proto.opset)
        inputs = tuple((i.name, self._input_type(i)) for i in proto.inputs)
        code = FunctionCode(
            name, int(digits.group()) if digits else 0, inputs, tuple(block.outputs)
        )
        types = dict(inputs)
        for operator in block.operations:
            self._operator(operator, code, types)
        unknown = [output for output in code.outputs if output not in types]
        if unknown and not self.complaints:
            raise self._package.fault(
                f"function {name!r} returns {unknown}, which nothing computes.",
                "Every output is the result of an operator.",
            )
        code.steps = _with_frees(code)
        return code

    def _input_type(self, named: Any) -> TensorType:
        if named.type.WhichOneof("type") == "stateType":
            self.complaints.add(f"state {named.name}")
            return tensor_type(named.type.stateType.wrappedType, self._package)
        return tensor_type(named.type, self._package)

    def _operator(self, proto: Any, code: FunctionCode, types: dict[str, TensorType]) -> None:
        code.counts[proto.type] += 1
        if proto.type != "const" and (proto.blocks or proto.type not in OPERATIONS):
            self.complaints.add(f"operator {proto.type} is not supported")
            types.update((output.name, OPAQUE) for output in proto.outputs)
            return
        outputs = tuple((o.name, tensor_type(o.type, self._package)) for o in proto.outputs)
        if proto.type == "const":
            self._constant(outputs, proto.attributes["val"], code)
        else:
            bindings = self._bindings(proto, code, types)
            operator = OPERATIONS[proto.type]
            self.complaints.update(operator.complaints(set(bindings)))
            step = Step(operator, bindings, outputs)
            self._check_precision(step, code, types)
            fixed = proto.type.startswith("constexpr_")
            (code.constant_steps if fixed else code.steps).append(step)
        types.update(outputs)

    def _constant(
        self, outputs: tuple[tuple[str, TensorType], ...], proto: Any, code: FunctionCode
    ) -> None:
        """Decode one constant; functions that share a blob record share the tensor."""
        (name, declared) = outputs[0]
        place = proto.blobFileValue
        key = (place.fileName, place.offset, str(declared))
        value = self._shared.get(key)
        if value is None:
            value, stored = constant(proto, self._package)
            if stored != declared:
                raise self._package.fault(
                    f"constant {name!r} is declared {declared} and holds {stored}.",
                    "Both types are equal.",
                )
            if place.fileName:
                self._shared[key] = value
        code.constants[name] = value

    def _bindings(
        self, proto: Any, code: FunctionCode, types: dict[str, TensorType]
    ) -> dict[str, str | tuple[str, ...]]:
        bindings: dict[str, str | tuple[str, ...]] = {}
        inline = {k: v for k, v in proto.attributes.items() if k != LABEL_ATTRIBUTE}
        for key, value in inline.items():  # iOS16 constexpr operators carry their data this way
            bindings[key] = self._inline(f"{proto.outputs[0].name}.{key}", value, code, types)
        for key, argument in proto.inputs.items():
            names = tuple(
                b.name
                if b.WhichOneof("binding") == "name"
                else self._inline(f"{proto.outputs[0].name}.{key}.{i}", b.value, code, types)
                for i, b in enumerate(argument.arguments)
            )
            unknown = [name for name in names if name not in types]
            if unknown or not names:
                raise self._package.fault(
                    f"{proto.type} {proto.outputs[0].name!r} reads {key}={unknown}.",
                    "An operator reads inputs, constants and earlier results.",
                )
            bindings[key] = names[0] if len(names) == 1 else names
        return bindings

    def _inline(
        self, name: str, proto: Any, code: FunctionCode, types: dict[str, TensorType]
    ) -> str:
        code.constants[name], types[name] = constant(proto, self._package)
        return name

    def _check_precision(
        self, step: Step, code: FunctionCode, types: dict[str, TensorType]
    ) -> None:
        """Activations keep their float precision except where an operator exists to change it.

        float16 and float32 are carried alike, so a wrong declaration would round in silence.
        """
        if step.operation.name in CHANGES_PRECISION or not step.reads():
            return
        read = {types[n].dtype.name for n in step.reads() if n not in code.constants}
        floats = {name for name in read if name.startswith("fp")}
        for name, declared in step.outputs:
            if floats and declared.dtype.category == "float" and floats != {declared.dtype.name}:
                raise self._package.fault(
                    f"{step.operation.name} {name!r} is declared {declared} and reads "
                    f"{', '.join(sorted(floats))}.",
                    "Only a cast changes the precision of activations.",
                )


def _with_frees(code: FunctionCode) -> list[Step]:
    """The steps, each with the values that nobody reads afterwards; constants are kept."""
    kept = {*code.outputs, *code.constants}
    kept.update(name for step in code.constant_steps for name, _ in step.outputs)
    done: list[Step] = []
    for step in reversed(code.steps):
        names = dict.fromkeys([*step.reads(), *(name for name, _ in step.outputs)])
        frees = tuple(name for name in names if name not in kept)
        kept.update(frees)
        done.append(Step(step.operation, step.bindings, step.outputs, frees))
    return done[::-1]

"""Is a FLOAT16 or compressed package the same program as the FLOAT32 one that was proven?

    found = compare(Path("net.fp32.mlpackage"), Path("net.fp16.mlpackage"), precision="fp16")
    found.check()          # GateFailed names every operator that differs

Outputs of a float16 file agree to about 40 dB, at which a third of single-operator faults goes
unnoticed (tests/exporters/mil/mutations.py counts them). The FLOAT32 file is proven at 85 dB
against PyTorch; the other must then have the same operators, attributes and data flow, and its
constants must be those of the FLOAT32 file, rounded to float16 or within half a quantization step
of it. What coremltools changes between precisions is said at the place that allows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from exporters.mil.evaluation import Function, Program
from exporters.mil.steps import Step
from exporters.mil.values import TensorType, Value, ValueType
from headtail.errors import GateFailed, UnknownName

__all__ = ["PRECISIONS", "Comparison", "Finding", "compare"]

PRECISIONS = ("fp16", "w8")
SHOWN = 8
ULP = 2.0**-11  # half a unit in the last place of float16, relative
SMALLEST = 2.0**-24  # the smallest positive float16; half of it rounds to zero
STEPS = 127  # of an 8-bit symmetric scale on each side


@dataclass(frozen=True)
class Finding:
    """One difference: in which function, at which operator, and what it is."""

    function: str
    operator: str
    what: str

    def __str__(self) -> str:
        return f"{self.function}: {self.operator}: {self.what}"


@dataclass(frozen=True)
class Comparison:
    """What was compared: numbers of operators and constants, and everything that differs."""

    findings: tuple[Finding, ...]
    ops: int
    constants: int

    @property
    def said(self) -> str:
        """What was compared, for a report."""
        return f"{self.ops} operators and {self.constants} constants are the float32 file's"

    def check(self) -> None:
        """Raise `GateFailed` if anything differs."""
        if not self.findings:
            return
        shown = "; ".join(str(finding) for finding in self.findings[:SHOWN])
        more = len(self.findings) - SHOWN
        raise GateFailed(
            f"The Core ML program differs from the proven float32 one: {shown}"
            + (f"; and {more} more." if more > 0 else "."),
            expected="Both have the same operators, attributes and data flow, and constants that "
            "are equal up to the asked rounding.",
            remedy="Export the float32 file, or report the operator named above to coremltools.",
        )


def compare(exact: Path, other: Path, *, precision: str) -> Comparison:
    """Compare every function of the package `other` with the float32 package `exact`."""
    if precision not in PRECISIONS:
        raise UnknownName("precision", precision, PRECISIONS)
    programs = Program(exact).functions, Program(other).functions
    findings: list[Finding] = []
    ops = constants = 0
    for name in dict.fromkeys([*programs[0], *programs[1]]):
        pair = programs[0].get(name), programs[1].get(name)
        if pair[0] is None or pair[1] is None:
            findings.append(Finding(name, "function", "is in one of the two files only"))
            continue
        walk = _Walk(name, pair[0], pair[1])
        walk.function()
        findings += walk.findings
        ops += walk.ops
        constants += walk.constants
    return Comparison(tuple(findings), ops, constants)


class _Walk:
    """Two functions side by side, from their outputs backwards.

    Not in program order: coremltools writes independent branches in another order when it has
    compressed a program. Casts between floats are seen through: coremltools puts one at every input
    and output and wherever an operator has no float16.
    """

    def __init__(self, name: str, exact: Function, other: Function) -> None:
        self._name, self._exact, self._other = name, exact, other
        self.findings: list[Finding] = []
        self.ops = self.constants = 0
        self._scales = _scales(other)
        self._fixed = _decoded(exact), _decoded(other)
        self._makers = _makers(exact), _makers(other)
        self._floats = _floats(exact), _floats(other)
        self._alike: dict[str, str] = {}  # value of the other -> value of the exact one
        self._waiting: list[tuple[Step, Step]] = []

    def function(self) -> None:
        code, twin = self._exact.code, self._other.code
        if len(code.inputs) != len(twin.inputs) or len(code.outputs) != len(twin.outputs):
            self._say("inputs and outputs", "are not as many as in the float32 file")
        for (key, kind), (twin_key, twin_kind) in zip(code.inputs, twin.inputs, strict=False):
            self._alike[twin_key] = key
            if key != twin_key or kind.shape != twin_kind.shape:
                self._say(f"input {key!r} {kind}", f"is {twin_key!r} {twin_kind} here")
        for key, twin_key in zip(code.outputs, twin.outputs, strict=False):
            self._pair(f"output {key!r}", key, twin_key)
        while self._waiting:
            self._step(*self._waiting.pop())

    def _pair(self, reader: str, key: str, twin_key: str) -> None:
        """Both values must be made alike; what makes them is compared later, once."""
        key, twin_key = self._unrounded(0, key), self._unrounded(1, twin_key)
        known = self._alike.get(twin_key)
        if known is not None:
            if known != key:
                self._say(reader, f"reads {known!r} instead of {key!r}")
            return
        step, twin = self._makers[0].get(key), self._makers[1].get(twin_key)
        if step is None or twin is None or step.operation.name != twin.operation.name:
            self._say(
                reader,
                f"reads {twin.label if twin else twin_key!r} instead of "
                f"{step.label if step else repr(key)}; what lies before was not compared",
            )
            return
        for (made, kind), (twin_made, twin_kind) in zip(step.outputs, twin.outputs, strict=False):
            self._alike[twin_made] = made
            if getattr(kind, "shape", None) != getattr(twin_kind, "shape", None):
                self._say(step.label, f"gives {twin_kind} instead of {kind}")
        if self._alike.get(twin_key) != key:
            self._say(reader, f"reads another result of {step.label}")
        self._waiting.append((step, twin))

    def _unrounded(self, side: int, key: str) -> str:
        step = self._makers[side].get(key)
        while step is not None and step.operation.name == "cast" and key in self._floats[side]:
            source = str(step.bindings["x"])
            if source not in self._floats[side]:
                break
            key, step = source, self._makers[side].get(source)
        return key

    def _step(self, step: Step, twin: Step) -> None:
        self.ops += 1
        for name in dict.fromkeys([*step.bindings, *twin.bindings]):
            if name not in step.bindings or name not in twin.bindings:
                self._say(step.label, f"input {name} is given in one of the two files only")
                continue
            left, right = _keys(step.bindings[name]), _keys(twin.bindings[name])
            if len(left) != len(right):
                self._say(step.label, f"{name} has {len(right)} values instead of {len(left)}")
            for key, twin_key in zip(left, right, strict=False):
                self._value(step, name, key, twin_key)
        if len(step.blocks) != len(twin.blocks):
            self._say(step.label, "has other blocks")
        for block, twin_block in zip(step.blocks, twin.blocks, strict=False):
            inputs = zip(block.inputs, twin_block.inputs, strict=False)
            self._alike |= {there: here for (here, _), (there, _) in inputs}
            for key, twin_key in zip(block.outputs, twin_block.outputs, strict=False):
                self._pair(step.label, key, twin_key)

    def _value(self, step: Step, name: str, key: str, twin_key: str) -> None:
        fixed = key in self._exact.code.constants or key in self._fixed[0]
        twin_fixed = twin_key in self._other.code.constants or twin_key in self._fixed[1]
        if fixed != twin_fixed:
            self._say(step.label, f"{name} is a constant in one of the two files only")
        elif fixed:
            self.constants += 1
            said = self._differs(key, twin_key)
            if said:
                self._say(step.label, f"{name} {said}")
        else:
            self._pair(f"{step.label} {name}", key, twin_key)

    def _differs(self, key: str, twin_key: str) -> str:
        value = _constant(self._exact, key)
        here = _constant(self._other, twin_key)
        if not isinstance(value, torch.Tensor) or not isinstance(here, torch.Tensor):
            # The type that a cast asks for follows the precision.
            names = {"fp16": "fp32"}
            same = names.get(str(here), here) == names.get(str(value), value)
            return "" if same else f"is {here!r} instead of {value!r}"
        if value.shape != here.shape:
            return f"has shape {list(here.shape)} instead of {list(value.shape)}"
        if not value.is_floating_point() or not here.is_floating_point():
            return (
                "" if torch.equal(value, here) else f"is {_brief(here)} instead of {_brief(value)}"
            )
        wrong = (here - value).abs() > self._allowed(value, here, twin_key)
        wrong &= here != _half(value)
        # Where float16 would round to zero, coremltools sometimes writes the smallest number.
        tiny = (_half(value) == 0) & (here == torch.sign(value) * SMALLEST)
        wrong &= ~tiny
        if not bool(wrong.any()):
            return ""
        return (
            f"differs in {int(wrong.sum())} of {wrong.numel()} elements by more than its rounding"
        )

    def _allowed(self, value: torch.Tensor, here: torch.Tensor, key: str) -> torch.Tensor:
        """Half a step of the stored scale, and one float16 rounding before and after it."""
        if key not in self._scales:
            return torch.zeros_like(value)  # equal, or correctly rounded
        scale = _spread(self._scales[key], value.shape)
        return scale / 2 + (value.abs() + here.abs()) * ULP + scale * STEPS * ULP + SMALLEST

    def _say(self, operator: str, what: str) -> None:
        self.findings.append(Finding(self._name, operator, what))


def _scales(function: Function) -> dict[str, torch.Tensor]:
    """Result of each blockwise quantized weight -> its scales."""
    return {
        step.outputs[0][0]: function.constant(str(step.bindings["scale"]))
        for step in function.code.constant_steps
        if step.operation.name == "constexpr_blockwise_shift_scale"
    }


def _decoded(function: Function) -> set[str]:
    return {key for step in function.code.constant_steps for key, _ in step.outputs}


def _constant(function: Function, key: str) -> Value:
    value = function.code.constants.get(key)
    return function.constant(key) if value is None else value


def _spread(scale: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """One scale per block, repeated to one per element."""
    for axis, size in enumerate(shape):
        scale = scale.repeat_interleave(size // scale.shape[axis], axis)
    return scale


def _half(value: torch.Tensor) -> torch.Tensor:
    """Rounded to float16 as coremltools does it: overflow becomes the largest finite number."""
    largest = torch.finfo(torch.float16).max
    return value.clamp(-largest, largest).to(torch.float16).to(value.dtype)


def _makers(function: Function) -> dict[str, Step]:
    """Value -> the step that makes it, those of nested blocks included."""
    found: dict[str, Step] = {}
    waiting = list(function.code.steps)
    while waiting:
        step = waiting.pop()
        found |= {key: step for key, _ in step.outputs}
        waiting += [inner for block in step.blocks for inner in block.steps]
    return found


def _floats(function: Function) -> set[str]:
    """Keys of all results and inputs of a float type."""
    made = [result for step in _makers(function).values() for result in step.outputs]
    kinds: list[tuple[str, ValueType]] = [*function.code.inputs, *made]
    return {k for k, t in kinds if isinstance(t, TensorType) and t.dtype.category == "float"}


def _keys(binding: str | tuple[str, ...]) -> tuple[str, ...]:
    return (binding,) if isinstance(binding, str) else binding


def _brief(value: torch.Tensor) -> str:
    return str(value.flatten()[:8].tolist()) + ("..." if value.numel() > 8 else "")

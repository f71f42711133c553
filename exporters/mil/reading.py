"""From the proto of a function to its steps: names resolved, types and constants decoded.

Errors of two kinds: what a program may contain and this interpreter does not know is collected in
`Reader.complaints`; what no program may contain is refused at once.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Iterable, Iterator
from typing import Any

from exporters.mil.operators import OPERATIONS
from exporters.mil.package import Package
from exporters.mil.steps import BlockCode, FunctionCode, Step, with_frees
from exporters.mil.values import (
    MIL_TYPES,
    StateType,
    TensorType,
    Value,
    ValueType,
    constant,
    value_type,
)

__all__ = ["Reader"]

# Operators whose result may have another float precision than the tensors they read.
CHANGES_PRECISION = frozenset(
    {"cast", "cond", "dequantize", "fill_like", "quantize", "read_state", "while_loop"}
)
# Operators that say the type of a result in words: the input, and which result it is about.
WORDED_RESULTS = {
    "cast": ("dtype", 0),
    "constexpr_cast": ("output_dtype", 0),
    "quantize": ("output_dtype", 0),
    "reduce_argmax": ("output_dtype", 0),
    "reduce_argmin": ("output_dtype", 0),
    "topk": ("output_indices_dtype", 1),
}
# Stands for the results of operators that are not supported, whatever their types are.
OPAQUE = TensorType(MIL_TYPES[2], None)
LABEL_ATTRIBUTE = "name"  # what converters call the operator; every other attribute is an input
LONGEST_ERROR = 5  # names listed in one message

Scope = ChainMap[str, str]  # name in the program -> key in the function


class Reader:
    """Turns proto functions into `FunctionCode`, collecting what is not supported."""

    def __init__(self, package: Package) -> None:
        self._package = package
        self.complaints: set[str] = set()
        self._shared: dict[tuple[str, int, str], Value] = {}

    def function(self, name: str, proto: Any) -> FunctionCode:
        """Read one function; `complaints` grows by what it has and we have not."""
        if proto.opset not in proto.block_specializations:
            raise self._package.fault(
                f"function {name!r} has no block for its opset {proto.opset!r}.",
                f"It has blocks for {sorted(proto.block_specializations)}.",
            )
        reader = _FunctionReader(self._package, name, proto.opset, self.complaints, self._shared)
        return reader.read(proto.inputs, proto.block_specializations[proto.opset])


class _FunctionReader:
    """Reads one function."""

    def __init__(
        self,
        package: Package,
        name: str,
        opset: str,
        complaints: set[str],
        shared: dict[tuple[str, int, str], Value],
    ) -> None:
        digits = re.search(r"\d+$", opset)
        self._package, self._opset = package, opset
        self._complaints, self._shared = complaints, shared
        self._types: dict[str, ValueType] = {}
        self._fixed: set[str] = set()  # keys of constants and of what is computed from them
        self._code = FunctionCode(name, int(digits.group()) if digits else 0, ())

    def read(self, inputs: Any, block: Any) -> FunctionCode:
        code, scope = self._code, Scope()
        declared = self._define_all(inputs, scope)
        code.states = tuple((key, t) for key, t in declared if isinstance(t, StateType))
        code.inputs = tuple((key, t) for key, t in declared if isinstance(t, TensorType))
        if len(code.states) + len(code.inputs) != len(declared):
            raise self._package.fault(
                f"function {code.name!r} takes {', '.join(str(t) for _, t in declared)}.",
                "A function takes tensors and states.",
            )
        body = self._block(block, declared, scope, f"function {code.name!r}")
        code.outputs = body.outputs
        code.steps = with_frees(body.steps, {*code.outputs, *self._fixed})
        return code

    def _block(
        self, proto: Any, inputs: tuple[tuple[str, ValueType], ...], scope: Scope, where: str
    ) -> BlockCode:
        steps = [step for o in proto.operations for step in self._operator(o, scope)]
        unknown = [name for name in proto.outputs if name not in scope]
        if unknown and not self._complaints:
            raise self._package.fault(
                f"{where} returns {unknown[:LONGEST_ERROR]}, which nothing computes.",
                "Every output is the result of an operator.",
            )
        return BlockCode(inputs, tuple(steps), tuple(scope.get(n, n) for n in proto.outputs))

    def _operator(self, proto: Any, scope: Scope) -> Iterator[Step]:
        """The step of one operator; none for a constant or an operator computed at once."""
        self._code.counts[proto.type] += 1
        if proto.type != "const" and proto.type not in OPERATIONS:
            self._unsupported(proto, scope)
            return
        if proto.type == "const":
            self._constant(proto, scope)
            return
        bindings = self._bindings(proto, scope)
        operator = OPERATIONS[proto.type]
        self._complaints.update(operator.complaints(set(bindings)))
        blocks = self._nested(proto, scope, operator.blocks)
        step = Step(operator, bindings, self._define_all(proto.outputs, scope), blocks)
        if not proto.type.startswith("constexpr_"):
            self._check_types(step)
            yield step
            return
        if not self._fixed.issuperset(step.reads()):
            raise self._package.fault(
                f"{step.label} reads {step.reads()[:LONGEST_ERROR]}.",
                "A constexpr operator reads constants only.",
            )
        self._check_types(step)
        self._fixed.update(key for key, _ in step.outputs)
        self._code.constant_steps.append(step)

    def _unsupported(self, proto: Any, scope: Scope) -> None:
        """Complain about an operator and about those in its blocks."""
        for kind in _types_in(proto):
            if kind != "const" and kind not in OPERATIONS:
                self._complaints.add(f"operator {kind} of {self._opset} is not supported")
        for output in proto.outputs:
            self._define(output.name, OPAQUE, scope)

    def _nested(self, proto: Any, scope: Scope, expected: int) -> tuple[BlockCode, ...]:
        if len(proto.blocks) != expected:
            raise self._package.fault(
                f"{_label(proto)} has {len(proto.blocks)} nested blocks.", f"It has {expected}."
            )
        blocks = []
        for block in proto.blocks:
            inner = scope.new_child()
            inputs = self._define_all(block.inputs, inner)
            blocks.append(self._block(block, inputs, inner, f"a block of {_label(proto)}"))
        return tuple(blocks)

    def _define_all(self, named: Iterable[Any], scope: Scope) -> tuple[tuple[str, ValueType], ...]:
        """Keys and declared types of `NamedValueType`s that are new in this scope."""
        declared = [(n.name, value_type(n.type, self._package)) for n in named]
        return tuple((self._define(name, kind, scope), kind) for name, kind in declared)

    def _define(self, name: str, kind: ValueType, scope: Scope) -> str:
        if name in scope.maps[0] or not name:
            raise self._package.fault(
                f"the value {name!r} is computed twice.", "Every value has a name of its own."
            )
        key, number = name, 1
        while key in self._types:  # another block's
            key, number = f"{name}#{number}", number + 1
        scope[name], self._types[key] = key, kind
        return key

    def _constant(self, proto: Any, scope: Scope) -> None:
        """Decode one constant; functions that share a blob record share the tensor."""
        outputs = self._define_all(proto.outputs, scope)
        if len(outputs) != 1:
            raise self._package.fault(f"a const has {len(outputs)} results.", "It has one.")
        ((key, declared),) = outputs
        literal = proto.attributes["val"]
        place = literal.blobFileValue
        place_key = (place.fileName, place.offset, str(declared))
        value = self._shared.get(place_key)
        if value is None:
            value, stored = constant(literal, self._package)
            if stored != declared:
                raise self._package.fault(
                    f"constant {key!r} is declared {declared} and holds {stored}.",
                    "Both types are equal.",
                )
            if place.fileName:
                self._shared[place_key] = value
        self._code.constants[key] = value
        self._fixed.add(key)

    def _bindings(self, proto: Any, scope: Scope) -> dict[str, str | tuple[str, ...]]:
        bindings: dict[str, str | tuple[str, ...]] = {}
        for key, value in proto.attributes.items():
            if key != LABEL_ATTRIBUTE:  # iOS16 constexpr operators carry their data this way
                bindings[key] = self._inline(f"{_label(proto)}.{key}", value)
        for key, argument in proto.inputs.items():
            keys = tuple(
                self._binding(b, scope, f"{_label(proto)}.{key}.{i}")
                for i, b in enumerate(argument.arguments)
            )
            unknown = [b.name for b, k in zip(argument.arguments, keys, strict=True) if k is None]
            if unknown:
                raise self._package.fault(
                    f"{_label(proto)} reads {key}={unknown[:LONGEST_ERROR]}.",
                    "An operator reads inputs, constants and earlier results.",
                )
            found = tuple(k for k in keys if k is not None)
            bindings[key] = found[0] if len(found) == 1 else found
        return bindings

    def _binding(self, proto: Any, scope: Scope, place: str) -> str | None:
        """The key an argument is bound to; None for a name that nothing defines."""
        if proto.WhichOneof("binding") == "value":
            return self._inline(place, proto.value)
        return scope.get(proto.name)

    def _inline(self, place: str, proto: Any) -> str:
        key = f"{place}#"  # no name in a program can be equal: keys of names end in a digit
        while key in self._types:
            key += "#"
        self._code.constants[key], self._types[key] = constant(proto, self._package)
        self._fixed.add(key)
        return key

    def _check_types(self, step: Step) -> None:
        """Declared float precision and the types an operator says in words.

        float16 and float32 are carried alike, so a wrong declaration would round in silence.
        """
        self._check_words(step)
        if step.operation.name in CHANGES_PRECISION:
            return
        read = [self._types[key] for key in step.reads() if key not in self._fixed]
        floats = {
            t.dtype.name for t in read if isinstance(t, TensorType) and t.dtype.category == "float"
        }
        for key, declared in step.outputs:
            if (
                floats
                and isinstance(declared, TensorType)
                and declared.dtype.category == "float"
                and declared.dtype.name not in floats
            ):
                raise self._package.fault(
                    f"{step.operation.name} {key!r} is declared {declared} and reads "
                    f"{', '.join(sorted(floats))}.",
                    "Only a cast changes the precision of activations.",
                )

    def _check_words(self, step: Step) -> None:
        name, place = WORDED_RESULTS.get(step.operation.name, ("", 0))
        key = step.bindings.get(name)
        word = self._code.constants.get(key) if isinstance(key, str) else None
        if not isinstance(word, str) or place >= len(step.outputs):
            return  # not given: the documented default, which the result is checked against
        declared = step.outputs[place][1]
        if not isinstance(declared, TensorType) or declared.dtype.name != word:
            raise self._package.fault(
                f"{step.label} is declared {declared} and has {name}={word!r}.",
                "Both types are equal.",
            )


def _types_in(proto: Any) -> Iterator[str]:
    """Types of an operator and of all operators nested in it."""
    yield proto.type
    for block in proto.blocks:
        for inner in block.operations:
            yield from _types_in(inner)


def _label(proto: Any) -> str:
    return f"{proto.type} {proto.outputs[0].name!r}" if proto.outputs else str(proto.type)

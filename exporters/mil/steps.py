"""A MIL function as it is walked: blocks of steps, each with what it reads, gives and frees.

Values are told apart by keys that are unique in a function. A key is the name in the program, or
that name and a number where a nested block uses a name again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from exporters.mil.optable import Operation
from exporters.mil.values import StateType, TensorType, Value, ValueType

__all__ = ["BlockCode", "FunctionCode", "Step", "with_frees"]


@dataclass(frozen=True)
class BlockCode:
    """A nested block: what it is given, its steps, the keys of what it gives back."""

    inputs: tuple[tuple[str, ValueType], ...]
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """One operator of a function. `frees` names the values nobody reads after it."""

    operation: Operation
    bindings: dict[str, str | tuple[str, ...]]
    outputs: tuple[tuple[str, ValueType], ...]
    blocks: tuple[BlockCode, ...] = ()
    frees: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """How an error calls this step: operator and first result."""
        named = self.outputs[0][0] if self.outputs else ", ".join(self.reads())
        return f"{self.operation.name} {named!r}"

    def reads(self) -> list[str]:
        """Keys of all values the operator itself reads."""
        return [n for b in self.bindings.values() for n in ((b,) if isinstance(b, str) else b)]


@dataclass
class FunctionCode:
    """One function: inputs and outputs with declared types, constants, steps in program order.

    `constant_steps` (the constexpr_* operators) read constants only and are computed once.
    `states` are the inputs that live longer than one run.
    """

    name: str
    opset: int
    inputs: tuple[tuple[str, TensorType], ...]
    states: tuple[tuple[str, StateType], ...] = ()
    outputs: tuple[str, ...] = ()
    constants: dict[str, Value] = field(default_factory=dict)
    constant_steps: list[Step] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def with_frees(steps: Sequence[Step], kept: set[str]) -> list[Step]:
    """The steps, each with the values that nobody reads afterwards, except those `kept`.

    A nested block frees only what is its own: it may run again.
    """
    kept, done = set(kept), []
    for step in reversed(steps):
        blocks = tuple(_block_with_frees(block) for block in step.blocks)
        read = [*step.reads(), *(key for block in step.blocks for key in _outer(block))]
        keys = dict.fromkeys([*read, *(key for key, _ in step.outputs)])
        frees = tuple(key for key in keys if key not in kept)
        kept.update(frees)
        done.append(replace(step, blocks=blocks, frees=frees))
    return done[::-1]


def _block_with_frees(block: BlockCode) -> BlockCode:
    kept = {*block.outputs, *_outer(block)}
    return replace(block, steps=tuple(with_frees(block.steps, kept)))


def _outer(block: BlockCode) -> list[str]:
    """Keys a block reads and does not define, in order."""
    own = {key for key, _ in block.inputs}
    read: list[str] = []
    for step in block.steps:
        read += step.reads()
        read += [key for nested in step.blocks for key in _outer(nested)]
        own.update(key for key, _ in step.outputs)
    return [key for key in dict.fromkeys([*read, *block.outputs]) if key not in own]

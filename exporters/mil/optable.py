"""The one table of MIL operators, and the arguments an operator is evaluated with.

`@operation("softmax", required="x", optional={"axis": -1})` registers a function. The names are the
operator's inputs as the MIL operators page lists them and the optional ones carry the default that
page documents; a program that gives an operator any other input is refused.
MIL operators: https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from exporters.mil.values import StateCell, TensorList, Value

__all__ = ["OPERATIONS", "Arguments", "Block", "Default", "Operation", "Result", "operation"]

Default = int | float | bool | str | None
Result = Value  # a tuple holds several results
Block = Callable[..., tuple[Value, ...]]
IOS17_OPSET = 7


class Arguments:
    """What one operator got. Accessors convert; a wrong kind raises `TypeError`."""

    def __init__(
        self,
        values: Mapping[str, Value],
        defaults: Mapping[str, Default],
        opset: int,
        *,
        blocks: Sequence[Block] = (),
        gives_float: bool = True,
    ) -> None:
        self._values = values
        self._defaults = defaults
        self.opset = opset
        self.gives_float = gives_float  # is the first result declared as floats?
        self.blocks = blocks  # nested blocks, called with their inputs

    def tensor(self, name: str) -> torch.Tensor:
        """A tensor that must be there."""
        value = self._values[name]
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"{name} is not a tensor")
        return value

    def optional_tensor(self, name: str) -> torch.Tensor | None:
        """A tensor, or None where the program gives none."""
        return self.tensor(name) if name in self._values else None

    def tensors(self, name: str) -> tuple[torch.Tensor, ...]:
        """One or several tensors given under one name."""
        values = self.values(name)
        tensors = tuple(value for value in values if isinstance(value, torch.Tensor))
        if len(tensors) != len(values):
            raise TypeError(f"{name} is not a list of tensors")
        return tensors

    def values(self, name: str) -> tuple[Value, ...]:
        """One or several values of any kind given under one name."""
        value = self._values[name]
        return value if isinstance(value, tuple) else (value,)

    def tensor_list(self, name: str) -> TensorList:
        """A list made by make_list."""
        value = self._values[name]
        if not isinstance(value, TensorList):
            raise TypeError(f"{name} is not a list")
        return value

    def state(self, name: str) -> StateCell:
        """A state, to be read or written."""
        value = self._values[name]
        if not isinstance(value, StateCell):
            raise TypeError(f"{name} is not a state")
        return value

    def text(self, name: str) -> str:
        """A string such as a mode."""
        value = self._values.get(name, self._defaults.get(name))
        if not isinstance(value, str):
            raise TypeError(f"{name} is not a string")
        return value

    def integer(self, name: str) -> int:
        """An integer scalar."""
        return int(self._scalar(name))

    def number(self, name: str) -> float:
        """A float or integer scalar."""
        return float(self._scalar(name))

    def flag(self, name: str) -> bool:
        """A bool scalar."""
        return bool(self._scalar(name))

    def integers(self, name: str) -> list[int]:
        """A vector of integers that must be there."""
        tensor = self.tensor(name)
        if tensor.is_floating_point():
            raise TypeError(f"{name} is not a vector of integers")
        return [int(size) for size in tensor.flatten().tolist()]

    def optional_integers(self, name: str, otherwise: list[int]) -> list[int]:
        """A vector of integers, or `otherwise` where the default depends on a rank."""
        return self.integers(name) if name in self._values else otherwise

    def _scalar(self, name: str) -> float:
        if name not in self._values:
            default = self._defaults[name]
            if default is None or isinstance(default, str):
                raise TypeError(f"{name} has no default")
            return default
        tensor = self.tensor(name)
        if tensor.numel() != 1:
            raise TypeError(f"{name} has shape {list(tensor.shape)} and is not a scalar")
        number: float = tensor.item()
        return number


@dataclass(frozen=True)
class Operation:
    """One operator: the names it takes, the documented defaults and how it is computed.

    `blocks` is how many nested blocks it has.
    """

    name: str
    required: tuple[str, ...]
    optional: Mapping[str, Default]
    compute: Callable[[Arguments], Result]
    blocks: int = 0

    def complaints(self, given: set[str]) -> list[str]:
        """What is wrong with the names a program gives this operator, in words."""
        unknown = sorted(given - set(self.required) - set(self.optional))
        missing = sorted(set(self.required) - given)
        return [f"{self.name}({name}=) is not supported" for name in unknown] + [
            f"{self.name} lacks its input {name}" for name in missing
        ]


OPERATIONS: dict[str, Operation] = {}


def operation(
    name: str,
    *,
    required: str,
    optional: Mapping[str, Default] | None = None,
    blocks: int = 0,
) -> Callable[[Callable[[Arguments], Result]], Callable[[Arguments], Result]]:
    """Register the function below under a MIL operator's name; `required` is space separated."""

    def register(compute: Callable[[Arguments], Result]) -> Callable[[Arguments], Result]:
        if name in OPERATIONS:
            raise ValueError(f"MIL operator {name} is registered twice")
        names = tuple(required.split())
        OPERATIONS[name] = Operation(name, names, dict(optional or {}), compute, blocks)
        return compute

    return register

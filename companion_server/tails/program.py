"""What a tail's program is to this server, and who reads it from its files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

__all__ = ["LoadProgram", "Program", "read_program"]


class Program(Protocol):
    """A tail's program; `exporters.graphfile.TailProgram` is one."""

    @property
    def one_sample(self) -> bool:
        """Does it take one sample at a time?"""
        ...

    def enter(self, boundary: Sequence[str], *, until: Sequence[str] | None = None) -> Any:
        """A `torch.nn.Module` from these graph values (batch first) to a tuple of the values of
        `until`, of the outputs if it is None; `BundleMismatch` if they do not follow from them."""
        ...

    def calls_after(self, boundary: Sequence[str]) -> int:
        """How many calls lead from these values to the outputs."""
        ...


LoadProgram = Callable[[Path, Path], Program]


def read_program(program: Path, weights: Path) -> Program:
    """Read a tail with `exporters.graphfile`."""
    from exporters.graphfile import TailProgram

    return TailProgram.read(program, weights)

"""What the Benchmark screen shows, as one frozen value, and how choices narrow the matrix."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from app.benchmark.compare import Change
from app.benchmark.matrix import Cell, Matrix
from app.benchmark.measure import Measured
from app.machine.facts import Condition, MachineFacts
from app.problems import Problem

__all__ = ["AXES", "RUNS", "BenchmarkState", "Choice", "Phase", "Progress", "Row", "narrowed"]

RUNS = (10, 30, 100)
AXES: dict[str, Callable[[Cell], str]] = {  # what can be chosen -> a cell's value of it
    "model": lambda cell: cell.bundle,
    "artifact": lambda cell: cell.artifact,
    "runtime": lambda cell: cell.backend,
    "threads": lambda cell: str(cell.threads),
}


class Phase(enum.Enum):
    """`EMPTY`: no bundle. `LOOKING`: reading what can run. `STOPPING`: cancelled, not yet still."""

    EMPTY = "empty"
    LOOKING = "looking"
    READY = "ready"
    RUNNING = "running"
    STOPPING = "stopping"


@dataclass(frozen=True)
class Choice:
    """One value of an axis, and whether it is to be measured."""

    axis: str
    value: str
    chosen: bool


@dataclass(frozen=True)
class Progress:
    """`done` of `total` cells; `doing` is the one in work; `share` of everything, in [0, 1].

    `remaining_s` is None until there is something to judge by.
    """

    done: int
    total: int
    doing: Cell | None
    share: float
    remaining_s: float | None


@dataclass(frozen=True)
class Row:
    """A line of the table; `change` is against the last run, None if that has no such cell."""

    measured: Measured
    best: bool
    change: Change | None


@dataclass(frozen=True)
class BenchmarkState:
    """Everything the screen shows. `left` are the choices that were taken out, as (axis, value).

    `compared_with` is when the run began that `change` refers to, "" if there is none; `notes` are
    sentences about heat, battery and what was stopped.
    """

    phase: Phase = Phase.EMPTY
    matrix: Matrix = field(default_factory=Matrix)
    left: frozenset[tuple[str, str]] = frozenset()
    runs: int = RUNS[1]
    machine: MachineFacts | None = None
    condition: Condition | None = None
    progress: Progress | None = None
    rows: tuple[Row, ...] = ()
    measured_at: str = ""
    compared_with: str = ""
    notes: tuple[str, ...] = ()
    problem: Problem | None = None

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Every value of every axis, in the order of the matrix; threads in rising order."""
        return tuple(
            Choice(axis, value, (axis, value) not in self.left)
            for axis, value_of in AXES.items()
            for value in dict.fromkeys(value_of(cell) for cell in self.matrix.cells)
        )

    @property
    def planned(self) -> tuple[Cell, ...]:
        """The cells that would be measured now."""
        return narrowed(self.matrix.cells, self.left)


def narrowed(cells: Iterable[Cell], left: frozenset[tuple[str, str]]) -> tuple[Cell, ...]:
    """The cells of which no value was taken out."""
    return tuple(
        cell
        for cell in cells
        if not any((axis, value_of(cell)) in left for axis, value_of in AXES.items())
    )

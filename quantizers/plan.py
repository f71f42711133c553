"""What was decided about a network's numbers, once for all formats: grids, ranges, and what for.

A plan goes with a float program whose weights *are* the values of its grids, so that the same
program is what every format converts and, run by PyTorch, what their files should equal.
On disk: a tensor file (`headtail.tensorfile`) with `<weight>/levels`, `<weight>/scale` or
`<weight>/table`, and the ranges and the recipe as JSON in its metadata.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from headtail.errors import IntegrityFault
from headtail.strictjson import from_json, to_json
from headtail.tensorfile import dump, parse
from headtail.tensors import Array
from quantizers.recipe import Recipe, Storage

__all__ = ["Grid", "Plan", "Range"]


@dataclass(frozen=True)
class Range:
    """Lowest and highest value of an activation that its integers must reach; zero is inside."""

    low: float
    high: float


@dataclass(frozen=True)
class Grid:
    """One weight on its grid, in the layout that PyTorch has it in.

    `levels`: int8 of the weight's shape, |level| < 2^(bits-1); for a palette the indices, uint8.
    `scale`: float32, per output channel (O, 1, ...) or per block (O, I / block, 1, ...), with the
    output channel on the axis where the operator has it; a palette has it per output channel or
    none. `table`: float32 (groups, 2^bits), group `g` for an equal share of the output channels
    (axis 0); empty unless it is a palette.
    """

    storage: Storage
    levels: Array
    scale: Array
    table: Array = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def values(self) -> Array:
        """The weight as float32: exactly what the float program holds."""
        if self.storage.palette:
            groups = len(self.table)
            rows = self.levels.reshape(groups, -1).astype(np.int64)
            entries = np.take_along_axis(self.table, rows, 1).reshape(self.levels.shape)
            if not self.scale.size:
                return entries
            scaled: Array = np.multiply(entries, self.scale, dtype=np.float32)
            return scaled
        scale = self.scale
        if self.storage.block:
            scale = np.repeat(scale, self.storage.block, axis=1)
        values: Array = np.multiply(self.levels, scale, dtype=np.float32)
        return values


@dataclass(frozen=True)
class Plan:
    """`grids` by name of the weight in the program, `ranges` by name of the graph's value.

    `steps` says what was done to the network before and why it may: one sentence each.
    """

    recipe: Recipe
    grids: Mapping[str, Grid] = field(default_factory=dict)
    ranges: Mapping[str, Range] = field(default_factory=dict)
    steps: tuple[str, ...] = ()

    def write(self, path: Path) -> None:
        """Save to `path`, the same bytes every time."""
        tensors: dict[str, Array] = {}
        for name, grid in self.grids.items():
            tensors[f"{name}/levels"] = grid.levels
            held = {"scale": grid.scale, "table": grid.table}
            tensors |= {f"{name}/{kind}": value for kind, value in held.items() if value.size}
        said = {
            "recipe": to_json(self.recipe),
            "storages": {name: to_json(grid.storage) for name, grid in self.grids.items()},
            "ranges": {name: to_json(found) for name, found in self.ranges.items()},
            "steps": list(self.steps),
        }
        path.write_bytes(dump(tensors, metadata={"plan": json.dumps(said)}))

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read what `write` wrote; `IntegrityFault` if it is another file."""
        held = parse(path.read_bytes())
        if "plan" not in held.metadata:
            raise IntegrityFault(
                f"{path.name} says nothing about a plan.",
                file=path.name,
                expected="A file that Plan.write() wrote.",
                remedy="Quantize again.",
            )
        said = json.loads(held.metadata["plan"])
        grids = {}
        for name, stored in said["storages"].items():
            storage = from_json(Storage, stored)
            empty = np.zeros((0, 0), np.float32)
            scale = held.tensors.get(f"{name}/scale", empty)
            table = held.tensors.get(f"{name}/table", empty)
            grids[name] = Grid(storage, held.tensors[f"{name}/levels"], scale, table)
        ranges = {name: from_json(Range, found) for name, found in said["ranges"].items()}
        return cls(from_json(Recipe, said["recipe"]), grids, ranges, tuple(said["steps"]))

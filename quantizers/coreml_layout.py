"""A plan's grid in the layout in which a converter has written its weight.

Converters move axes of length one and transpose; they do not change values. So a constant is
recognised by its content, and levels, scales and tables follow its weight's way.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headtail.tensors import Array
from quantizers.plan import Grid
from quantizers.recipe import Storage

__all__ = ["Laid", "Layouts"]


@dataclass(frozen=True)
class Laid:
    """A grid whose `levels` have the shape of the constant.

    `scale` has its rank. `table` has two axes more: one table per block of the constant's axes,
    entries, and one for vectors of length one. Either is empty where the grid has none.
    """

    storage: Storage
    levels: Array
    scale: Array
    table: Array


class Layouts:
    """Finds grids by the values of constants; says in the end which ones were never found."""

    def __init__(self, grids: dict[str, Grid]) -> None:
        self._grids = grids
        self._values = {name: grid.values() for name, grid in grids.items()}
        self._found: set[str] = set()

    @property
    def missing(self) -> list[str]:
        """Names of grids that no constant had the values of."""
        return [name for name in self._grids if name not in self._found]

    def find(self, constant: Array) -> Laid | None:
        """The grid of a float constant; None if it is no weight of the plan.

        Weights of equal values are one constant in the file, and are found together.
        """
        laid = None
        for name, values in self._values.items():
            way = _way(values, constant)
            if way is None:
                continue
            self._found.add(name)
            laid = laid or _laid(self._grids[name], way, constant.shape)
        return laid


def _way(values: Array, constant: Array) -> tuple[int, ...] | None:
    """The axes of `values` longer than one, in the order in which `constant` has them."""
    if values.size != constant.size:
        return None
    kept = [axis for axis, size in enumerate(values.shape) if size > 1]
    sizes = [size for size in constant.shape if size > 1]
    plain = constant.reshape(sizes)
    rounded = values.reshape([values.shape[axis] for axis in kept]).astype(constant.dtype)
    for order in itertools.permutations(range(len(kept))):
        turned = rounded.transpose(order)
        if turned.shape == plain.shape and np.array_equal(turned, plain):
            return tuple(kept[place] for place in order)
    return None


def _laid(grid: Grid, way: Sequence[int], shape: Sequence[int]) -> Laid:
    levels = _along(grid.levels, way, shape)
    scale = _along(grid.scale, way, shape) if grid.scale.size else grid.scale
    if not grid.storage.palette:
        return Laid(grid.storage, levels, scale, grid.table)
    groups, entries = grid.table.shape
    wide = grid.table.reshape(groups, *[1] * (grid.levels.ndim - 1), entries)
    tables = [_along(wide[..., entry], way, shape) for entry in range(entries)]
    return Laid(grid.storage, levels, scale, np.stack(tables, -1)[..., None])


def _along(values: Array, way: Sequence[int], shape: Sequence[int]) -> Array:
    """One value per element or block of the weight, laid as the constant is."""
    turned = values.transpose([*way, *(axis for axis in range(values.ndim) if axis not in way)])
    sizes = iter(turned.shape)
    laid: Array = turned.reshape([next(sizes) if size > 1 else 1 for size in shape])
    return np.ascontiguousarray(laid)

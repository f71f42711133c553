"""Plans for tests: every weight at its nearest level, without any of the methods of the solver."""

from __future__ import annotations

import numpy as np
import torch
from torch import fx

from headtail.tensors import Array
from quantizers.palette import fit_scaled_palette
from quantizers.plan import Grid, Plan, Range
from quantizers.recipe import Recipe, Storage
from quantizers.sites import sites, storages, weight_of
from quantizers.static_graph import with_ranges


def rounded(graph: fx.GraphModule, recipe: Recipe) -> tuple[fx.GraphModule, Plan]:
    """A copy of `graph` with its weights on grids, and the plan of these."""
    chosen = {name: s for name, s in storages(sites(graph), recipe).items() if s.quantized}
    grids = {name: nearest(weight_of(graph, name).numpy(), s) for name, s in chosen.items()}
    made = with_ranges(graph, {})
    for name, grid in grids.items():
        path, _, leaf = name.rpartition(".")
        held = torch.nn.Parameter(torch.from_numpy(grid.values()), requires_grad=False)
        setattr(made.get_submodule(path), leaf, held)
    return made, Plan(recipe, grids)


def nearest(weight: Array, storage: Storage) -> Grid:
    """The grid whose scale reaches the largest weight; for a palette its best tables."""
    if storage.palette:
        table, scale = fit_scaled_palette(weight, storage.bits)
        even = np.divide(weight, scale, dtype=np.float32)
        return Grid(storage, near(even, table), scale, table)
    top = 2 ** (storage.bits - 1) - 1
    block = storage.block or weight.shape[1]
    parts = weight.reshape(weight.shape[0], weight.shape[1] // block, block, *weight.shape[2:])
    largest = np.abs(parts).max(axis=tuple(range(2, parts.ndim)))
    scale = (np.maximum(largest, 1e-12) / top).astype(np.float32)
    scale = scale.reshape(*scale.shape, *[1] * (weight.ndim - 2))
    levels = np.round(weight / np.repeat(scale, block, 1)).clip(-top, top).astype(np.int8)
    return Grid(storage, levels, scale)


def near(weight: Array, table: Array) -> Array:
    """Indices of the nearest entries, in the weight's shape."""
    pairs = zip(weight.reshape(len(table), -1), table, strict=True)
    rows = [np.abs(row[:, None] - entries).argmin(1) for row, entries in pairs]
    return np.stack(rows).astype(np.uint8).reshape(weight.shape)


def seen(graph: fx.GraphModule, inputs: list[Array], names: list[str]) -> dict[str, Range]:
    """Lowest and highest of the named values over `inputs`."""
    found = {name: Range(0.0, 0.0) for name in names}

    class Watch(fx.Interpreter):
        def run_node(self, n: fx.Node) -> object:
            value = super().run_node(n)
            if n.name in found:
                low, high = float(value.min()), float(value.max())
                before = found[n.name]
                found[n.name] = Range(min(low, before.low), max(high, before.high))
            return value

    with torch.no_grad():
        for array in inputs:
            Watch(graph).run(torch.from_numpy(array))
    return found

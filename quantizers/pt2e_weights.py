"""Weights of a layer as integers and scales behind a dequantize operator, as PT2E writes them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from headtail.errors import ConversionFailed
from headtail.tensors import Array
from quantizers.plan import Grid, Plan
from quantizers.pt2e_forms import constant, tensor_of
from quantizers.pt2e_values import LAYERS
from quantizers.recipe import Storage

if TYPE_CHECKING:
    from torch import fx

__all__ = ["grid_of", "store", "store_bias", "widened"]

# Biases are int32 multiples of input scale times weight scale; the rest is room for the sum.
_MOST_BIAS = 2.0**30
# Below it, float32 loses bits, and XNNPACK refuses the scale.
_LEAST_SCALE = 2.0**-100


def grid_of(module: fx.GraphModule, layer: fx.Node, plan: Plan) -> Grid | None:
    """The plan's grid for the layer's weight; a plan without grids rounds to nearest.

    The weight is found by its name, or, if a rewrite of the program renamed or reshaped it, by its
    values. None: it stays floating point.
    """
    source: Any = layer.args[1]
    weight = tensor_of(module, source)
    if weight is None or str(weight.dtype) != "torch.float32":
        return None
    if any(tensor_of(module, bias) is None for bias in layer.args[2:3] if bias is not None):
        return None  # a bias that is computed
    held = weight.numpy()
    if not plan.grids:
        return _nearest(held, LAYERS[str(layer.target)], plan.recipe.storage)
    name = str(source.target)
    for grid in (plan.grids[name],) if name in plan.grids else plan.grids.values():
        found = None if grid.storage.palette else _part(grid, held)
        if found is not None:
            return found
    if name not in plan.grids:
        return None
    raise ConversionFailed(
        f"Weight {name!r} is not on its grid ({plan.grids[name].storage}).",
        expected="The program's weights are exactly the values of the plan's grids.",
        remedy="Quantize the program that the plan was made with.",
    )


def widened(grid: Grid, bias: Array, input_scale: float, *, axis: int) -> Grid:
    """The grid with larger scales where a bias would not fit into 32 bits.

    A channel that batch norm has switched off has weights, and so a scale, of next to nothing
    beside its bias.
    """
    shape = [-1 if i == axis else 1 for i in range(grid.levels.ndim)]
    scale = np.maximum(grid.scale.reshape(shape), np.float32(_LEAST_SCALE))
    least = np.abs(bias.astype(np.float64)) / (_MOST_BIAS * input_scale)
    scale = np.maximum(scale, least.astype(np.float32).reshape(shape))
    if np.array_equal(scale, grid.scale.reshape(shape)):
        return grid
    levels = np.rint(grid.levels * (grid.scale.reshape(shape) / scale)).astype(np.int8)
    return Grid(grid.storage, levels, scale)


def store(module: fx.GraphModule, layer: fx.Node, grid: Grid) -> None:
    """Let the layer read its weight as `grid` has it, dequantized."""
    import torch

    axis, source = LAYERS[str(layer.target)], layer.args[1]
    limits = (-127, 127) if grid.storage.bits == 8 else (-8, 7)
    hint = str(source.target).replace(".", "_")  # type: ignore[union-attr]  # a node
    scale = torch.from_numpy(grid.scale.astype(np.float32).reshape(-1))
    with module.graph.inserting_before(layer):
        levels = constant(module, f"{hint}_levels", torch.from_numpy(grid.levels), layer)
        scales = constant(module, f"{hint}_scale", scale, layer)
        zeros = torch.zeros(len(scale), dtype=torch.int64)
        zero = constant(module, f"{hint}_zero", zeros, layer)
        weight = module.graph.call_function(
            torch.ops.quantized_decomposed.dequantize_per_channel.default,
            (levels, scales, zero, axis, *limits, torch.int8),
        )
    weight.meta["val"] = source.meta["val"]  # type: ignore[union-attr]  # a node
    layer.update_arg(1, weight)


def store_bias(module: fx.GraphModule, layer: fx.Node, bias: Any, scale: Array) -> None:
    """Round the bias to the integers times `scale` that the file will hold."""
    import torch

    rounded = (np.rint(bias.numpy() / scale) * scale).astype(np.float32)
    hint = f"{layer.args[2].target}".replace(".", "_")  # type: ignore[union-attr]  # a node
    with module.graph.inserting_before(layer):
        layer.update_arg(2, constant(module, hint, torch.from_numpy(rounded), layer))


def _part(grid: Grid, weight: Array) -> Grid | None:
    """The grid of `weight` if its rows are consecutive ones of `grid`: all, or a projection's share
    where queries, keys and values were one."""
    rows, values = weight.reshape(len(weight), -1), grid.values()
    values = values.reshape(len(values), -1)
    if rows.shape[1] != values.shape[1]:
        return None
    for first in np.flatnonzero((values == rows[0]).all(1)):
        part = slice(int(first), int(first) + len(rows))
        if np.array_equal(values[part], rows):
            scale = grid.scale if len(grid.scale) == 1 else grid.scale[part]
            return replace(grid, levels=grid.levels[part].reshape(weight.shape), scale=scale)
    return None


def _nearest(weight: Array, axis: int, storage: Storage) -> Grid:
    others, most = tuple(i for i in range(weight.ndim) if i != axis), 2 ** (storage.bits - 1) - 1
    widest = np.abs(weight).max(axis=others, keepdims=True)
    scale = np.maximum(widest / np.float32(most), np.float32(_LEAST_SCALE))
    levels = np.clip(np.rint(weight / scale), -most, most).astype(np.int8)
    return Grid(Storage(storage.dtype), levels, scale)

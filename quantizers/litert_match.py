"""Finds a plan's grids among the constants of the float `.tflite` that its program became.

A converter renames and transposes weights (OIHW to OHWI, a depthwise (C, 1, h, w) to
(1, h, w, C)), so a grid is found by its values, in any order of its axes. It also multiplies
neighbours into weights:

* what follows a layer (a batch norm, a layer scale), a factor per output channel: the scales take
  it;
* what precedes it (the weight of a layer norm), a factor per input channel, which no scale can
  take: `unfolded` takes it out again and multiplies the layer's input instead.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headtail.errors import UsageFault
from quantizers import litert_file
from quantizers.litert_weights import Key, Stored, constants, key, weight_of
from quantizers.plan import Grid
from quantizers.ranges import Numbers

__all__ = ["Found", "match", "unfolded"]

_TOLERANCE = 1e-5  # of a slice's largest weight: what a folded multiplication rounds


@dataclass
class Found:
    """What constants are to be stored as, and factors of their input channels to take out."""

    stored: dict[Key, Stored] = field(default_factory=dict)
    factors: dict[Key, Numbers] = field(default_factory=dict)


def match(grids: Mapping[str, Grid], held: Sequence[Numbers]) -> Found:
    """Each grid beside every constant of two or more axes that has its values.

    Raises `UsageFault` that names the grids whose values no constant has.
    """
    candidates = {key(array): array for array in held if array.ndim > 1}
    by_values: dict[bytes, list[Key]] = {}
    for which, array in candidates.items():
        by_values.setdefault(_sorted(array), []).append(which)
    found = Found()
    left = []
    for name, grid in grids.items():
        same = by_values.get(_sorted(grid.values()), ())
        if not sum(_take(found, grid, candidates[which]) for which in same):
            left.append(name)
    free = [array for which, array in candidates.items() if which not in found.stored]
    missing = []
    for name in left:
        sized = [array for array in free if array.size == grids[name].levels.size]
        if not sum(_take(found, grids[name], array) for array in sized):
            missing.append(name)
    if missing:
        raise _not_found(missing, grids)
    return found


def _not_found(missing: Sequence[str], grids: Mapping[str, Grid]) -> UsageFault:
    shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
    return UsageFault(
        f"{len(missing)} of {len(grids)} quantized weights are in no constant of the float file: "
        f"{shown}.",
        expected="The file is converted from the program that the plan belongs to, and the "
        "converter changes a weight only in layout or by a factor per channel.",
        remedy="Give these weights f32 by a rule of the recipe, or quantize again from the model.",
    )


def _sorted(values: Numbers) -> bytes:
    # adding zero makes -0.0 and 0.0 the same bytes
    return hashlib.sha256((np.sort(values, axis=None) + np.float32(0)).tobytes()).digest()


def _take(found: Found, grid: Grid, constant: Numbers) -> bool:
    """Note the constant if it has the grid's values, in any order of axes, but for factors."""
    source = [i for i, size in enumerate(grid.levels.shape) if size > 1]
    target = tuple(size for size in constant.shape if size > 1)
    spread = np.broadcast_to(grid.scale, grid.levels.shape)
    for order in itertools.permutations(source):
        if tuple(grid.levels.shape[i] for i in order) != target:
            continue
        full = (*order, *(i for i in range(grid.levels.ndim) if i not in order))
        values, levels, scales = (
            array.transpose(full).reshape(constant.shape)
            for array in (grid.values(), grid.levels, spread)
        )
        axis = _axis(scales)
        if axis is None:
            continue
        last = constant.ndim - 1
        for along in (None, axis, last):
            factor = _factor(values, constant, along)
            if factor is None:
                continue
            if along == last != axis:
                found.factors[key(constant)] = factor.reshape(-1)
                factor = np.ones_like(factor[..., :1])
            found.stored[key(constant)] = _stored(grid, levels, scales * factor, axis)
            return True
    return False


def _factor(values: Numbers, constant: Numbers, along: int | None) -> Numbers | None:
    """By what `values` were multiplied, a number for each place along an axis; None: by no such."""
    if along is None:
        same = np.array_equal(values, constant)
        return np.ones((1,) * values.ndim, np.float32) if same else None
    if values.size == values.shape[along]:
        return None  # one value for each place: any two arrays would match
    others = tuple(i for i in range(values.ndim) if i != along)
    wide, held = values.astype(np.float64), constant.astype(np.float64)
    power = (wide**2).sum(others, keepdims=True)
    products = (wide * held).sum(others, keepdims=True)
    factor = np.divide(products, power, out=np.ones_like(power), where=power > 0)
    off = np.abs(wide * factor - held).max(others, keepdims=True)
    if (off > _TOLERANCE * np.abs(held).max(others, keepdims=True)).any():
        return None
    single: Numbers = factor.astype(np.float32)
    return single


def _axis(scales: Numbers) -> int | None:
    """The one axis along which scales differ (the longest, if they do not); None if several."""
    differ = [i for i in range(scales.ndim) if (scales != scales.take([0], i)).any()]
    if len(differ) > 1:
        return None
    return differ[0] if differ else max(range(scales.ndim), key=lambda i: scales.shape[i])


def _stored(grid: Grid, levels: Numbers, scales: Numbers, axis: int) -> Stored:
    signed = np.where(scales < 0, -levels, levels).astype(np.int8)  # a negative factor
    first = tuple(slice(None) if i == axis else 0 for i in range(levels.ndim))
    scale = np.abs(np.broadcast_to(scales, levels.shape)[first]).astype(np.float32)
    return Stored(grid.storage.dtype, np.ascontiguousarray(signed), scale, axis)


def unfolded(model: Any, data: bytes, found: Found) -> bytes:
    """The float file with `found.factors` taken out of weights; `found` then has none.

    Layers that read one input with the same factors share its multiplication.
    """
    stored = {w: found.stored[w] for w in found.factors}
    for graph in model.subgraphs:
        made: dict[tuple[int, bytes], int] = {}
        for op in list(graph.operators):
            weight = weight_of(model, data, graph, op)
            factors = None if weight is None else found.factors.get(key(weight))
            if factors is None:
                continue
            group = int(op.inputs[0]), factors.tobytes()
            if group not in made:
                made[group] = _multiplied(model, graph, op, factors)
            op.inputs = np.array([made[group], *op.inputs[1:]], np.int32)
    for _, tensor, values in list(constants(model, data)):
        if key(values) in stored:
            payload = stored[key(values)].values().tobytes()
            tensor.buffer = litert_file.add_buffer(model, payload)
    for which, one in stored.items():
        del found.stored[which], found.factors[which]
        found.stored[key(one.values())] = one
    return litert_file.written(model, data)


def _multiplied(model: Any, graph: Any, op: Any, factors: Numbers) -> int:
    """Number of a new tensor: the operator's input times `factors` along its last axis."""
    from ai_edge_litert import schema_py_generated as schema

    given = graph.tensors[int(op.inputs[0])]
    factor, product = schema.TensorT(), schema.TensorT()
    number = len(graph.tensors)
    factor.name = given.name + f"_factor_{number}".encode()
    factor.shape = np.array(factors.shape, np.int32)
    factor.buffer = litert_file.add_buffer(model, factors.astype("<f4").tobytes())
    product.name = given.name + f"_times_{number}".encode()
    product.shape, product.shapeSignature = given.shape, given.shapeSignature
    graph.tensors += [factor, product]
    times = schema.OperatorT()
    times.opcodeIndex = litert_file.operator_code(model, schema.BuiltinOperator.MUL)
    times.inputs = np.array([op.inputs[0], number], np.int32)
    times.outputs = np.array([number + 1], np.int32)
    times.builtinOptionsType = schema.BuiltinOptions.MulOptions
    times.builtinOptions = schema.MulOptionsT()
    place = next(i for i, one in enumerate(graph.operators) if one is op)
    graph.operators.insert(place, times)
    return number + 1

"""A plan's ranges for the tensors of the float `.tflite` that its program became.

A converter keeps no names; it transposes values, writes some operators as several and several as
one. So values are compared: program and file are run on the same inputs, and a tensor with as many
elements as a value of the program and with the same extremes, sum and norms holds that value, in
whatever order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from headtail.tensors import Array
from quantizers import litert_file
from quantizers.litert_ranges import Samples, runs
from quantizers.litert_weights import Key, Stored, key, weight_of
from quantizers.placement import carried
from quantizers.plan import Plan, Range
from quantizers.ranges import Numbers

if TYPE_CHECKING:
    from torch import fx

__all__ = ["of_layers", "planned_ranges"]

# Relative: conversion changes the last bits of float32, other values differ by far more.
_SAME = 1e-3
_MOVES = ("MAX_POOL_2D", "PAD", "RESHAPE", "SLICE", "SPLIT", "STRIDED_SLICE", "TRANSPOSE")
Inputs = Mapping[str, Sequence[Sequence[Array]]]  # entry -> samples, each one array per input


def planned_ranges(
    program: fx.GraphModule, plan: Plan, data: bytes, samples: Samples, inputs: Inputs
) -> dict[str, Range]:
    """Tensor name -> the plan's range of the value that it holds; nothing where the plan has none.

    `data` is the float file, `samples` are its inputs by entry and name, `inputs` are the same in
    the order of `program`, which is flat and computes whatever an entry does.
    """
    model, ranges = litert_file.open_model(data), carried(program, plan.ranges)
    found: dict[str, Range] = {}
    for entry, given in samples.items():
        ends = dict.fromkeys((0, len(given) - 1))  # two: what is equal by chance is not so twice
        values = [_traits(program, inputs[entry][index]) for index in ends]
        seen: dict[str, list[Numbers]] = {}
        for name, value in runs(model, data, {entry: [given[index] for index in ends]}):
            seen.setdefault(name, []).append(_trait(value))
        for name, traits in seen.items():
            held = _counterpart(np.stack(traits), values, ranges)
            if held in ranges:
                found[name] = ranges[held]
    return _carried(model, found)


def _carried(model: Any, found: dict[str, Range]) -> dict[str, Range]:
    """`found`, and what is only moved, such as a picture with zeros around it."""
    for graph in model.subgraphs:
        names = [tensor.name.decode() for tensor in graph.tensors]
        for op in graph.operators:
            if litert_file.operator_name(model, op) in _MOVES:
                given = [found[names[int(i)]] for i in op.inputs if names[int(i)] in found]
                for number in op.outputs if given else ():
                    found.setdefault(names[int(number)], given[0])
    return found


def of_layers(data: bytes, wanted: Mapping[Key, Stored]) -> set[str]:
    """Names of what the operators with these weights read and give."""
    model = litert_file.open_model(data)
    found = set()
    for graph in model.subgraphs:
        for op in graph.operators:
            weight = weight_of(model, data, graph, op)
            if weight is not None and key(weight) in wanted:
                ends = (int(i) for i in (*op.inputs, *op.outputs) if i >= 0)
                found |= {graph.tensors[i].name.decode() for i in ends}
    return found


def _traits(program: fx.GraphModule, sample: Sequence[Array]) -> dict[str, Numbers]:
    """Of every float32 value of the program that is made of the sample."""
    import torch
    from torch import fx

    found: dict[str, Numbers] = {}

    class Watch(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            computed = n.op in ("placeholder", "call_function")
            if computed and isinstance(value, torch.Tensor) and value.dtype == torch.float32:
                found[n.name] = _trait(value.numpy())
            return value

    with torch.inference_mode():
        # copies: an array read from a file is read-only, which torch warns about
        Watch(program).run(*(torch.tensor(array) for array in sample))
    return found


def _trait(value: Numbers) -> Numbers:
    """Size, root of the sum of squares, sum of magnitudes, sum, lowest and highest; of no order."""
    flat = value.reshape(-1).astype(np.float64)
    if not flat.size:
        return np.zeros(6)
    ends = (flat.min(), flat.max())
    return np.array([flat.size, np.sqrt(flat @ flat), np.abs(flat).sum(), flat.sum(), *ends])


def _counterpart(
    seen: Numbers, values: Sequence[Mapping[str, Numbers]], ranges: Mapping[str, Range]
) -> str:
    """Name of the value with these traits (samples, 6), or "".

    Of several, such as a value and the same reshaped, one that has a range.
    """
    _, norm, magnitude, _, low, high = seen.T
    widest = np.maximum(np.abs(low), np.abs(high))
    least = np.stack([0 * norm, norm, magnitude, magnitude, widest, widest], 1) * _SAME
    same = [
        name
        for name in values[0]
        if (np.abs(np.stack([one[name] for one in values]) - seen) <= least).all()
    ]
    return next((name for name in same if name in ranges), next(iter(same), ""))

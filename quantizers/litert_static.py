"""Integer arithmetic in a `.tflite`: ai-edge-quantizer's structure with our ranges and weights.

https://github.com/google-ai-edge/ai-edge-quantizer decides which operators there are integer
kernels for, which tensors must share a scale, and where QUANTIZE and DEQUANTIZE go. Not left to
it: ranges (its calibrator averages the extremes of samples), weights (it rounds them again) and
biases. A bias has the scale input scale x weight scale, so where a channel's weights are nearly
zero (a channel that training switched off) the bias, which is all that the channel gives, does not
fit its integers; such a channel gets a larger weight scale.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from headtail.errors import UsageFault
from quantizers import litert_file
from quantizers.litert_ranges import Measured, scope
from quantizers.litert_weights import (
    SLOTS,
    Key,
    Stored,
    float_constant,
    key,
    rescaled,
    store,
    weight_of,
)
from quantizers.ranges import Numbers
from quantizers.recipe import Recipe

__all__ = ["adjust", "structure"]

# The largest bias: room is left for the products that are added to it (int32 sums), and for the
# 48 bits that the kernels of int16 inputs rescale.
_LARGEST_BIAS = {"INT32": 2.0**30, "INT64": 2.0**46}
_CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")
# XNNPACK, as LiteRT delegates to it, has these for floats only, and a network falls to pieces
# around them: MobileNetV3-small takes 4.2 ms with hard swish on int8, 1.3 ms with it on float32.
_ONLY_FLOAT = ("HARD_SWISH",)
# Operators with kernels for 4-bit weights, by activations (tried with ai-edge-litert 2.3.0).
_FOUR_BITS = {
    "static": ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"),
    "dynamic": ("CONV_2D", "FULLY_CONNECTED"),
}


def structure(
    source: bytes,
    recipe: Recipe,
    wanted: Mapping[Key, Stored],
    measured: Measured | None,
) -> bytes:
    """The file with integer operators and 8-bit weights wherever the weight is `wanted`."""
    from ai_edge_quantizer import quantizer
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import TFLOperationName as Operation

    tool = quantizer.Quantizer(source)
    everything, none = Operation.ALL_SUPPORTED, AlgorithmName.NO_QUANTIZE
    if recipe.activation_mode == "dynamic":
        tool.add_dynamic_config(".*", everything, 8)
    else:
        tool.add_static_config(".*", everything, int(recipe.activations[1:]), 8)
        for end in (Operation.INPUT, Operation.OUTPUT):
            tool.update_quantization_recipe(".*", end, algorithm_key=none)
    four = _FOUR_BITS[recipe.activation_mode]
    stay = set(_stay_float(litert_file.open_model(source), source, wanted, four))
    if measured is not None:
        stay |= measured.floats
    if stay:
        scopes = "|".join(re.escape(one) for one in sorted(stay))
        tool.update_quantization_recipe(f"^(?:{scopes})$", everything, algorithm_key=none)
    ranges = None if measured is None else measured.ranges
    result = tool.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)


def _stay_float(
    model: Any, data: bytes, wanted: Mapping[Key, Stored], four: Sequence[str]
) -> Iterator[str]:
    """Scopes of operators that are better off in float, or whose weights no integer kernel takes:
    those that stay float, and those stored as integers that this operator has no slot or no kernel
    for, which are dequantized before it. `four` are the operators with kernels for 4 bits.
    """
    for graph in model.subgraphs:
        for op in graph.operators:
            weight = weight_of(model, data, graph, op)
            if weight is None:
                stay = _kind(model, op) in _ONLY_FLOAT or any(
                    k in wanted for k in _constant_keys(model, data, graph, op)
                )
            else:
                stored = wanted.get(key(weight))
                few = stored is not None and stored.dtype != "i8"
                stay = stored is None or (few and _kind(model, op) not in four)
            if stay:
                yield scope(graph, op)


def _constant_keys(model: Any, data: bytes, graph: Any, op: Any) -> Iterator[Key]:
    for number in op.inputs:
        values = float_constant(model, data, graph.tensors[int(number)]) if number >= 0 else None
        if values is not None:
            yield key(values)


@dataclass(frozen=True)
class _Site:
    """An integer operator with the float weight and bias that it is made from."""

    weight: Any
    number: tuple[int, int]  # subgraph, tensor
    values: Numbers
    stored: Stored
    bias: Any
    floats: Numbers | None
    input_scale: np.float32

    @property
    def least_scale(self) -> Numbers:
        """Per channel, the least weight scale with which the bias fits."""
        if self.floats is None:
            return np.zeros(len(self.stored.scale))
        limit = _LARGEST_BIAS[litert_file.dtype_name(self.bias)]
        least: Numbers = np.abs(self.floats.astype(np.float64)) / (float(self.input_scale) * limit)
        return least


def adjust(source: tuple[Any, bytes], model: Any, wanted: Mapping[Key, Stored]) -> int:
    """Put the wanted weights and exact biases in; how many channels got a larger scale.

    `source` is the float model (with its bytes), `model` what the quantizer made of it.
    """
    sites = list(_sites(source, model, wanted))
    least: dict[tuple[int, int], Numbers] = {}
    for site in sites:
        before = least.get(site.number, site.stored.scale.astype(np.float64))
        least[site.number] = np.maximum(before, site.least_scale)
    widened = 0
    for site in sites:
        scale = least[site.number]
        larger = scale > site.stored.scale
        stored = rescaled(site.values, site.stored, scale) if larger.any() else site.stored
        widened += int(larger.sum())
        store(model, site.weight, stored)
        if site.floats is not None:
            _set_bias(model, site, site.floats, stored.scale)
    return widened


def _set_bias(model: Any, site: _Site, floats: Numbers, weight_scale: Numbers) -> None:
    scale = site.input_scale * weight_scale
    integers = np.rint(np.divide(floats, scale, dtype=np.float64))
    dtype = {"INT32": "<i4", "INT64": "<i8"}[litert_file.dtype_name(site.bias)]
    site.bias.quantization.scale = scale
    site.bias.quantization.zeroPoint = np.zeros(len(scale), np.int64)
    site.bias.buffer = litert_file.add_buffer(model, integers.astype(dtype).tobytes())


def _sites(source: tuple[Any, bytes], model: Any, wanted: Mapping[Key, Stored]) -> Iterator[_Site]:
    before, data = source
    for index, (old, new) in enumerate(zip(before.subgraphs, model.subgraphs, strict=True)):
        kept = [op for op in new.operators if _kind(model, op) not in _CONVERSIONS]
        for was, op in zip(old.operators, kept, strict=True):
            slot, values = SLOTS.get(_kind(model, op)), weight_of(before, data, old, was)
            if slot is None or values is None or key(values) not in wanted:
                continue
            number = int(op.inputs[slot.weight])
            weight = new.tensors[number]
            if litert_file.dtype_name(weight) != "INT8":
                continue
            stored = _along(wanted[key(values)], slot.axis, weight.name.decode())
            bias = floats = None
            if len(op.inputs) > slot.bias and op.inputs[slot.bias] >= 0:
                held = old.tensors[int(was.inputs[slot.bias])]
                bias = new.tensors[int(op.inputs[slot.bias])]
                if litert_file.dtype_name(bias) != "FLOAT32":  # dynamic: it stays float
                    raw = litert_file.constant_bytes(data, before.buffers[held.buffer])
                    floats = np.frombuffer(raw, "<f4")
            given = new.tensors[int(op.inputs[slot.input])].quantization
            scale = np.float32(given.scale[0]) if floats is not None else np.float32(1)
            yield _Site(weight, (index, number), values, stored, bias, floats, scale)


def _kind(model: Any, op: Any) -> str:
    return litert_file.operator_name(model, op)


def _along(stored: Stored, axis: int, name: str) -> Stored:
    """The same with its scales along the axis that the operator's kernel reads them on."""
    if stored.axis == axis:
        return stored
    if np.unique(stored.scale).size > 1:
        raise UsageFault(
            f"The scales of weight {name!r} lie along axis {stored.axis} of its constant.",
            expected=f"LiteRT's integer kernel has them along axis {axis}, the output channels.",
            remedy="Give this weight f32 by a rule of the recipe, or choose w8.",
        )
    count = stored.levels.shape[axis]
    return replace(stored, axis=axis, scale=np.full(count, stored.scale[0], np.float32))

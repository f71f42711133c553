"""Factors for channels that may be scaled, chosen by the noise that integers will make.

One scale for all channels of a value leaves few steps to channels that are small beside others;
dividing the large and multiplying in the weights that read them evens this out, until those weights
are what is uneven. Nagel et al. balance the two by a formula for pairs of layers
(https://arxiv.org/abs/1906.04721, section 4.1), Xiao et al. for a norm and the layers behind it
(https://arxiv.org/abs/2211.10438). Here the balance is what both formulas stand for: the least
predicted noise over all values and weights at once, so that residual sums, fused projections and
attention need no formulas of their own.

    value   (range of all channels / steps)^2 / 12 * sum over channels of factor^2 * importance
    weight  sum over outputs of (largest weight * factor / levels)^2 / 12 * sum over channels of
            variance / factor^2

each relative to the variance of what the layer gives. A channel's importance is the sum of its
squared weights in the layers that read it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from exporters.prepare.channel_statistics import Channel
from exporters.prepare.channel_ties import Channels
from exporters.prepare.channel_weights import Weights

__all__ = ["Noise", "equalized_channels", "equalized_weights", "factors"]

aten = torch.ops.aten
_MOST = math.log(64.0)  # a factor further from 1 would only move the trouble elsewhere
_NORM = 16  # of the p-norm that stands for a maximum
_WEIGHT_NORM = 8
_ROUNDS = 150
_RATE = 0.05


@dataclass(frozen=True)
class Noise:
    """Steps of a value's integers, 0 if values stay float; levels on one side of a weight's."""

    steps: int
    levels: int


@dataclass(frozen=True)
class _Value:
    """One value's channels: class numbers, lowest (<= 0) and highest (>= 0), all alike in shape."""

    numbers: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor


@dataclass(frozen=True)
class _Read:
    """One layer's inputs: class numbers and variance (inputs,); its weights' largest magnitudes
    (groups, outputs / groups, inputs / groups), scaled to be 1 at most in a row, with what a row's
    largest is; and what a squared error of 1 in all outputs weighs."""

    numbers: torch.Tensor
    variance: torch.Tensor
    rows: torch.Tensor
    largest: torch.Tensor
    weight: float


def factors(
    graph: fx.GraphModule,
    channels: Channels,
    seen: Mapping[str, Channel],
    values: Iterable[str],
    noise: Noise,
) -> torch.Tensor:
    """Logarithms of the factors, float64 (classes + 1,), of class 0 always 0.

    `values` are the names of those that become integers; `seen` has them, what layers read and what
    they give.
    """
    weights = Weights(graph)
    readers = [n for n, numbers in channels.read.items() if bool((numbers != 0).any())]
    reads = [_read(weights, node, channels, seen) for node in readers]
    importance = _importance(weights, readers, channels, seen)
    named = {node.name: node for node in channels.of}
    held = [_value(named[n], channels, seen[n]) for n in values if n in named and n in seen]
    held = [one for one in held if bool((one.numbers != 0).any())]
    if not held and not reads:  # nothing depends on a factor
        return torch.zeros(channels.classes + 1, dtype=torch.double)
    logs = torch.zeros(channels.classes + 1, dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.Adam([logs], lr=_RATE)
    best, found = math.inf, logs.detach().clone()
    with torch.enable_grad():
        for _ in range(_ROUNDS):
            optimizer.zero_grad()
            total = _predicted(logs, held, reads, importance, noise)
            if float(total.detach()) < best:
                best, found = float(total.detach()), logs.detach().clone()
            total.log().backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
            optimizer.step()
            with torch.no_grad():
                logs[0] = 0.0
                logs.clamp_(-_MOST, _MOST)
    return found


def equalized_weights(
    graph: fx.GraphModule, channels: Channels, logs: torch.Tensor
) -> fx.GraphModule:
    """A copy of `graph` with the factors in its weights; names stay."""
    weights = Weights(graph)
    for node, numbers in channels.made.items():
        weights.divide(node, _factor(logs, numbers))
    for node, numbers in channels.read.items():
        weights.multiply(node, _factor(logs, numbers))
    return weights.program()


def equalized_channels(
    channels: Channels, seen: Mapping[str, Channel], logs: torch.Tensor
) -> dict[str, Channel]:
    """What `seen` is then."""
    numbers = {node.name: found for node, found in channels.of.items()}
    return {n: one.divided(_factor(logs, one.along(numbers[n]))) for n, one in seen.items()}


def _factor(logs: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    return (logs[numbers.abs()] * numbers.sign()).exp()


def _predicted(
    logs: torch.Tensor,
    values: Sequence[_Value],
    reads: Sequence[_Read],
    importance: torch.Tensor,
    noise: Noise,
) -> torch.Tensor:
    total = torch.full((), 1e-30, dtype=torch.double)
    if noise.steps:
        for value in values:
            factor = _factor(logs, value.numbers)
            width = _largest(value.high / factor) + _largest(-value.low / factor)
            weight = (factor.square() * importance[value.numbers]).sum()
            total = total + (width / noise.steps).square() / 12 * weight
    for read in reads:
        factor = _factor(logs, read.numbers)
        spread = (read.variance / factor.square()).reshape(len(read.rows), -1).sum(-1)
        powers = factor.pow(_WEIGHT_NORM).reshape(len(read.rows), -1, 1)
        top = torch.bmm(read.rows, powers)[..., 0].pow(2 / _WEIGHT_NORM)
        row = (top * read.largest.square()).sum(-1)
        total = total + (row * spread).sum() / (12 * noise.levels**2) * read.weight
    return total


def _largest(values: torch.Tensor) -> torch.Tensor:
    top = values.detach().amax().clamp(min=1e-30)
    return top * (values / top).pow(_NORM).sum().clamp(min=1e-30).pow(1 / _NORM)


def _value(node: fx.Node, channels: Channels, seen: Channel) -> _Value:
    numbers = seen.along(channels.of[node])
    low, high = seen.reach()
    return _Value(numbers, low.clamp(max=0), high.clamp(min=0))


def _read(
    weights: Weights, node: fx.Node, channels: Channels, seen: Mapping[str, Channel]
) -> _Read:
    numbers = channels.read[node]
    weight = weights.of(node, 1)
    assert weight is not None  # it is a layer
    groups = len(numbers) // weight.shape[1]
    taps = weight[0, 0].numel()
    rows = weight.abs().flatten(2).amax(2) if weight.ndim > 2 else weight.abs()
    rows = rows.reshape(groups, -1, rows.shape[1])
    largest = rows.amax(-1).clamp(min=1e-30)
    source: Any = node.args[0]
    variance = seen[source.name].variance.reshape(-1) * taps
    return _Read(
        numbers,
        variance.expand(len(numbers)),
        (rows / largest[..., None]).pow(_WEIGHT_NORM),
        largest,
        1 / _power(seen[node.name]),
    )


def _power(given: Channel) -> float:
    return max(float(given.variance.sum()), 1e-30)


def _importance(
    weights: Weights, readers: Iterable[fx.Node], channels: Channels, seen: Mapping[str, Channel]
) -> torch.Tensor:
    """By signed class number (negative ones from the end): what noise in a channel does."""
    found = torch.zeros(2 * channels.classes + 1, dtype=torch.double)
    for node in readers:
        weight = weights.of(node, 1)
        assert weight is not None  # it is a layer
        numbers = channels.read[node]
        groups = len(numbers) // weight.shape[1]
        squares = weight.square().flatten(2).sum(2) if weight.ndim > 2 else weight.square()
        each = squares.reshape(groups, -1, weight.shape[1]).sum(1).reshape(-1)
        found.index_add_(0, numbers % len(found), each / _power(seen[node.name]))
    for left, right in channels.contracted:
        pair = [seen[left.name], seen[right.name]]
        powers = [one.variance + one.mean.square() for one in pair]
        whole = max(float((powers[0] * powers[1]).sum()), 1e-30)
        for node, other in ((left, powers[1]), (right, powers[0])):
            numbers = seen[node.name].along(channels.of[node])
            found.index_add_(0, numbers.reshape(-1) % len(found), other.reshape(-1) / whole)
    return found

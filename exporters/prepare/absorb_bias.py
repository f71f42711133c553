"""Biases of channels that lie far from zero go to the layers that read them.

One range for all channels of a value reaches from the lowest to the highest; centred, the channels
need less. Through a ReLU this is the high-bias absorption of Nagel et al., section 4.1.3,
https://arxiv.org/abs/1906.04721, for channels that are never below what is taken from them; what
lies behind no such function may be centred whatever its values are, as Wei et al. do behind norms,
https://arxiv.org/abs/2304.09145. An attention's values lose their mean so: then what its rounded
weights lack of one is no longer missing from its output.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import fx

from exporters.prepare.channel_shifts import Shifts, shiftable, shifts_of
from exporters.prepare.channel_statistics import Channel
from exporters.prepare.channel_weights import Weights, by_input

__all__ = ["absorbed", "shifted_program"]

# Where a ReLU cuts: below the lowest by this part of its way from the mean, and as far from the
# mean as that. The paper takes three deviations, which other photos do reach.
_MARGIN = 0.25
_DEVIATIONS = 6.0


def absorbed(
    graph: fx.GraphModule, seen: Mapping[str, Channel], kept: Collection[str] = ()
) -> tuple[fx.GraphModule, dict[str, Channel], int]:
    """A copy of `graph` with centred channels, what `seen` is of it, and how many were moved.

    `kept` names values that must stay.
    """
    free = shiftable(graph, kept)
    given = {}
    for node, movable in free.channels.items():
        if node.name in seen:
            channel = seen[node.name]
            centre = _spare(channel) if node in free.rectified else _middle(channel)
            given[node] = torch.where(movable, centre, 0.0)
    shifts = shifts_of(graph, given)
    lacks = {node.name: shift for node, shift in shifts.of.items()}
    moved = {name: one.shifted(one.along(lacks[name])) for name, one in seen.items()}
    count = sum(int((shift != 0).sum()) for shift in given.values())
    return shifted_program(graph, given, shifts), moved, count


def _middle(channel: Channel) -> torch.Tensor:
    low, high = channel.reach()
    return ((low + high) / 2).reshape(-1)


def _spare(channel: Channel) -> torch.Tensor:
    """What every value of the channel has, and those of other inputs probably too."""
    low = channel.low - _MARGIN * (channel.mean - channel.low)
    far = channel.mean - _DEVIATIONS * channel.variance.sqrt()
    return torch.minimum(low, far).clamp(min=0).reshape(-1)


def shifted_program(
    graph: fx.GraphModule, given: Mapping[fx.Node, torch.Tensor], shifts: Shifts
) -> fx.GraphModule:
    """A copy of `graph` whose layers and norms give less by `given`, and whose readers know.

    Names stay; layers that had no bias may get one.
    """
    weights = Weights(graph)
    for node, shift in given.items():
        if bool(shift.any()):
            weights.add(node, -shift)
    for node, shift in shifts.read.items():
        if bool(shift.any()):
            weight = weights.of(node, 1)
            assert weight is not None  # it is a layer
            weights.add(node, (weight * by_input(weight, shift)).flatten(1).sum(1))
    return weights.program()

"""The values and weights that equalization did most to, before and after, for the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from exporters.prepare.channel_calls import CONVOLUTIONS
from exporters.prepare.channel_statistics import Channel
from exporters.prepare.editing import is_call, weight_of
from headtail.quality.distributions import equalized
from headtail.quality.schema import Equalization
from headtail.tensors import Array
from quantizers.sites import module_of

__all__ = ["distributions"]

aten = torch.ops.aten
_VALUES, _WEIGHTS = 4, 2
_INPUTS = 8


def distributions(
    before: fx.GraphModule,
    after: fx.GraphModule,
    seen: Mapping[str, Channel],
    samples: Sequence[Sequence[Array]],
) -> tuple[Equalization, ...]:
    """Of two graphs with the same names: the values whose channels were the most unlike `before`,
    then weights that read them, input channels first.

    `seen` has the channels of the values to choose from. Each of `samples` is one array per input.
    """
    worst = sorted(seen, key=lambda name: -_unevenness(seen[name]))[:_VALUES]
    named = {node.name: node for node in before.graph.nodes}
    found = []
    for name in worst:
        axis = max(range(seen[name].low.ndim), key=lambda place: seen[name].low.shape[place])
        both = [_run_to(graph, name, axis, samples[:_INPUTS]) for graph in (before, after)]
        found.append(equalized(_title(named[name]), "activation", *both))
    readers = dict.fromkeys(user for name in worst for user in named[name].users)
    found += _weights(before, after, readers)[:_WEIGHTS]
    return tuple(found)


def _unevenness(channel: Channel) -> float:
    widths = torch.maximum(channel.high, -channel.low).flatten()
    alive = widths[widths > 0]
    return float(alive.max() / alive.median()) if len(alive) else 1.0


def _title(node: fx.Node) -> str:
    return ".".join(part for part in (module_of(node), node.name) if part)


def _run_to(graph: fx.GraphModule, name: str, axis: int, samples: Sequence[Sequence[Array]]) -> Any:
    """The value on these inputs, (channels, values)."""
    kept: list[torch.Tensor] = []

    class Observer(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            result = super().run_node(n)
            if n.name == name:
                kept.append(result.movedim(axis, 0).flatten(1))
            return result

    with torch.inference_mode():
        for sample in samples:
            Observer(graph).run(*(torch.tensor(array) for array in sample))
    return torch.cat(kept, 1).numpy()


def _weights(
    before: fx.GraphModule, after: fx.GraphModule, readers: Iterable[fx.Node]
) -> list[Equalization]:
    now = {node.name: node for node in after.graph.nodes}
    found = []
    for reader in readers:
        if not is_call(reader, aten.linear.default, *CONVOLUTIONS):
            continue
        both = [
            weight_of(graph, node.args[1])
            for graph, node in ((before, reader), (after, now[reader.name]))
        ]
        rows = [one.transpose(0, 1).flatten(1).numpy() for one in both if one is not None]
        if len(rows) == 2 and len(rows[0]) > 1:  # the channels of a depthwise kernel are no inputs
            found.append(equalized(_title(reader), "weight", *rows))
    return found

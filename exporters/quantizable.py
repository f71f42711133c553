"""The network made quantizable, once for all precisions and formats, each step proven.

What is constant per channel goes into the weights before or after it, so that what is rounded is
what runs.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import fx

from exporters.capture import flat_graph
from exporters.captured import Captured
from exporters.entries import EntryPoints
from exporters.prepare.preparation import apply_rewrites

__all__ = ["Quantizable", "quantizable", "traced"]

# What folds constants per channel into weights, whatever the format.
_REWRITES = (
    "drop_no_ops",
    "fold_normalisation",
    "fold_constants",
    "numeric_padding",
    "fold_batch_norm",
    "fuse_branches",
    "fold_channel_scale",
)


@dataclass(frozen=True)
class Quantizable:
    """The rewritten graph of `forward`, heads by entry point in its names, and what was done, in
    sentences."""

    graph: fx.GraphModule
    heads: Mapping[str, tuple[str, ...]]
    steps: tuple[str, ...]

    @property
    def kept(self) -> set[str]:
        """Values that heads hand on, which must stay what they are."""
        return {name for names in self.heads.values() for name in names}


def quantizable(captured: Captured) -> Quantizable:
    """Rewrite a captured network, whose sizes are fixed."""
    example = EntryPoints.read(captured.program, {}).example
    values = [name for names in captured.heads.values() for name in names]
    marked = _returning(captured.graph, values)
    rewrites = [(n, importlib.import_module(f"exporters.prepare.{n}").rewrite) for n in _REWRITES]
    prepared = apply_rewrites(marked, example, rewrites)
    # traced again before anything is solved for: names must be those that converters will see
    graph = flat_graph(traced(prepared.graph, example))
    output = next(node for node in graph.graph.nodes if node.op == "output")
    returned = list(output.args[0])
    count = len(returned) - len(values)
    names = iter(node.name for node in returned[count:])
    heads = {entry: tuple(next(names) for _ in kept) for entry, kept in captured.heads.items()}
    output.args = (tuple(returned[:count]),)
    graph.recompile()
    return Quantizable(graph, heads, prepared.steps)


def traced(
    graph: fx.GraphModule, example: tuple[torch.Tensor, ...]
) -> torch.export.ExportedProgram:
    """A graph as a program that can be saved."""
    with torch.no_grad():
        return torch.export.export(graph, example)


def _returning(graph: fx.GraphModule, values: Sequence[str]) -> fx.GraphModule:
    """A copy of the graph that returns these values of its own behind its outputs."""
    nodes = copy.deepcopy(graph.graph)
    named = {node.name: node for node in nodes.nodes}
    output = next(node for node in nodes.nodes if node.op == "output")
    output.args = ((*output.args[0], *(named[name] for name in values)),)
    return fx.GraphModule(graph, nodes)

"""Which calls `prepare` takes out of a graph and which it puts in, by the rewrite that did it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import fx

from exporters.diagnosis.seen import mark_origins
from exporters.prepare import prepare, rewrites_for

__all__ = ["Traced", "traced_prepare"]


@dataclass(frozen=True)
class Traced:
    """The prepared graph, its calls marked; name of a call -> the rewrite that did it."""

    graph: fx.GraphModule
    removed: dict[str, str]
    added: dict[str, str]
    applied: tuple[str, ...]


def traced_prepare(graph: fx.GraphModule, example: Sequence[torch.Tensor], target: str) -> Traced:
    """`prepare`, with each rewrite that it kept replayed to see what it changed."""
    prepared = prepare(graph, example, target)
    kept = [applied.name for applied in prepared.applied]
    removed: dict[str, str] = {}
    added: dict[str, str] = {}
    current = prepare(graph, example, "").graph  # a copy: no target takes no rewrites
    for rewrite in rewrites_for(target):
        if rewrite.name not in kept:
            continue
        before = _names(current)
        rewrite.function()(current)
        current.graph.eliminate_dead_code()
        after = _names(current)
        removed |= dict.fromkeys(before - after, rewrite.name)
        added |= dict.fromkeys(after - before, rewrite.name)
    mark_origins(prepared.graph)
    return Traced(prepared.graph, removed, added, tuple(kept))


def _names(graph: fx.GraphModule) -> set[str]:
    # the operator too: a rewrite may name its call after the one that it replaces
    return {node.name for node in graph.graph.nodes if node.op == "call_function"}

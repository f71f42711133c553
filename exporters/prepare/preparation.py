"""Applying a target's rewrites one after the other, each proven on a real input or taken back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import fx

from exporters.prepare.table import rewrites_for
from headtail.metrics import snr_db
from headtail.tensors import Array

__all__ = ["EQUAL_DB", "Applied", "Prepared", "prepare"]

# A rewrite may sum in another order, not compute something else: float32 reordering leaves 110 dB
# and more on the networks seen, an approximation of GELU less than 80.
EQUAL_DB = 100.0


@dataclass(frozen=True)
class Applied:
    """A rewrite that changed `sites` places; `snr_db` compares the outputs with those before."""

    name: str
    sites: int
    snr_db: float


@dataclass(frozen=True)
class Prepared:
    """The rewritten graph, what was applied, and what was taken back because it was not equal."""

    graph: fx.GraphModule
    applied: tuple[Applied, ...]
    undone: tuple[Applied, ...]


def prepare(graph: fx.GraphModule, example: Sequence[torch.Tensor], target: str) -> Prepared:
    """Apply the rewrites of `target` to a copy of the flat `graph`, proving each on `example`."""
    current = _copy(graph)
    expected = _run(current, example)
    applied: list[Applied] = []
    undone: list[Applied] = []
    for rewrite in rewrites_for(target):
        changed = _copy(current)
        sites = rewrite.function()(changed)
        if not sites:
            continue
        changed.graph.eliminate_dead_code()
        changed.graph.lint()
        changed.recompile()
        worst = _worst(expected, _run(changed, example))
        record = Applied(rewrite.name, sites, round(worst, 1))
        if worst < EQUAL_DB:
            undone.append(record)
        else:
            applied.append(record)
            current = changed
    return Prepared(current, tuple(applied), tuple(undone))


def _copy(graph: fx.GraphModule) -> fx.GraphModule:
    """Another graph over the same weights."""
    nodes = fx.Graph()
    output = nodes.graph_copy(graph.graph, {})
    nodes.output(output)
    nodes.set_codegen(fx.graph.CodeGen())
    copied = fx.GraphModule(graph, nodes)
    original = next(node for node in graph.graph.nodes if node.op == "output")
    next(node for node in nodes.nodes if node.op == "output").meta = dict(original.meta)
    return copied


def _run(graph: fx.GraphModule, example: Sequence[torch.Tensor]) -> list[Array]:
    with torch.inference_mode():
        return [output.numpy() for output in graph(*example)]


def _worst(expected: Sequence[Array], given: Sequence[Array]) -> float:
    return min(snr_db(reference=e, candidate=g) for e, g in zip(expected, given, strict=True))

"""Applying a target's rewrites one after the other, each proven on a real input or taken back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import fx

from exporters.prepare.table import rewrites_for
from headtail.metrics import snr_db
from headtail.tensors import Array

__all__ = ["EQUAL_DB", "Applied", "Prepared", "Undone", "apply_rewrites", "prepare"]

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
class Undone:
    """A rewrite that was taken back, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Prepared:
    """The rewritten graph, what was applied, and what was taken back."""

    graph: fx.GraphModule
    applied: tuple[Applied, ...]
    undone: tuple[Undone, ...]


def prepare(graph: fx.GraphModule, example: Sequence[torch.Tensor], target: str) -> Prepared:
    """Apply the rewrites of `target` to a copy of the flat `graph`, proving each on `example`."""
    rewrites = [(rewrite.name, rewrite.function()) for rewrite in rewrites_for(target)]
    return apply_rewrites(graph, example, rewrites)


def apply_rewrites(
    graph: fx.GraphModule,
    example: Sequence[torch.Tensor],
    rewrites: Sequence[tuple[str, Callable[[fx.GraphModule], int]]],
) -> Prepared:
    """Apply named rewrites one after the other.

    A rewrite that fails or changes the answer is taken back: the graph converts without it.
    """
    current = _copy(graph)
    expected = _run(current, example)
    applied: list[Applied] = []
    undone: list[Undone] = []
    for name, rewrite in rewrites:
        changed = _copy(current)
        try:
            sites = rewrite(changed)
            if not sites:
                continue
            worst = _worst(expected, _run(_settled(changed), example))
        except Exception as error:  # a pattern met in a form that its author did not think of
            undone.append(Undone(name, f"{type(error).__name__}: {str(error)[:200]}"))
            continue
        if worst < EQUAL_DB:
            undone.append(Undone(name, f"its graph agrees to {worst:.0f} dB only"))
        else:
            applied.append(Applied(name, sites, round(worst, 1)))
            current = changed
    return Prepared(current, tuple(applied), tuple(undone))


def _settled(graph: fx.GraphModule) -> fx.GraphModule:
    graph.graph.eliminate_dead_code()
    graph.graph.lint()
    graph.recompile()
    return graph


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

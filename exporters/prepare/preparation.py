"""Applying a target's rewrites one after the other, each proven on a real input or taken back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.utils._pytree import tree_map

from exporters.prepare.table import rewrites_for
from headtail.metrics import snr_db
from headtail.tensors import Array

__all__ = ["EQUAL_DB", "Applied", "Prepared", "Undone", "apply_rewrites", "prepare"]

# A rewrite may sum in another order, not compute something else: float32 reordering leaves 110 dB
# and more on most networks, an approximation of GELU less than 80. A network whose own float32
# answer is further than that from its float64 one (MobileOne: 98 dB) is judged by the latter.
EQUAL_DB = 100.0
_MARGIN_DB = 1.0
Run = Callable[[fx.GraphModule, Sequence[torch.Tensor]], list[Array]]


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

    @property
    def steps(self) -> tuple[str, ...]:
        """All of it for a person, a sentence each."""
        done = [
            f"{one.name}: {one.sites} place{'s' * (one.sites != 1)}, outputs {_equal(one.snr_db)}"
            for one in self.applied
        ]
        return (*done, *(f"{one.name} taken back: {one.reason}" for one in self.undone))


def _equal(snr_db: float) -> str:
    return "bit-equal" if snr_db == math.inf else f"equal to {snr_db:.0f} dB"


def prepare(
    graph: fx.GraphModule, example: Sequence[torch.Tensor], target: str, *, run: Run | None = None
) -> Prepared:
    """Apply the rewrites of `target` to a copy of the flat `graph`, proving each on `example`.

    `run` is how graphs are run to compare them, if not as they are.
    """
    rewrites = [(rewrite.name, rewrite.function()) for rewrite in rewrites_for(target)]
    return apply_rewrites(graph, example, rewrites, run=run)


def apply_rewrites(
    graph: fx.GraphModule,
    example: Sequence[torch.Tensor],
    rewrites: Sequence[tuple[str, Callable[[fx.GraphModule], int]]],
    *,
    run: Run | None = None,
) -> Prepared:
    """Apply named rewrites one after the other.

    A rewrite that fails or changes the answer is taken back: the graph converts without it.
    """
    run = run or _run
    current = _copy(graph)
    expected = run(current, example)
    applied: list[Applied] = []
    undone: list[Undone] = []
    for name, rewrite in rewrites:
        changed = _copy(current)
        try:
            sites = rewrite(changed)
            if not sites:
                continue
            worst = _worst(expected, run(_settled(changed), example))
        except Exception as error:  # a pattern met in a form that its author did not think of
            undone.append(Undone(name, f"{type(error).__name__}: {str(error)[:200]}"))
            continue
        if worst < EQUAL_DB and not _as_exact(graph, changed, example):
            undone.append(Undone(name, f"its graph agrees to {worst:.0f} dB only"))
        else:
            applied.append(Applied(name, sites, round(worst, 1)))
            current = changed
    # a copy has no weights that nothing reads any more; torch.export would keep them in every file
    return Prepared(_copy(current), tuple(applied), tuple(undone))


def _as_exact(
    graph: fx.GraphModule, changed: fx.GraphModule, example: Sequence[torch.Tensor]
) -> bool:
    """Is `changed` no further from the float64 answer than `graph` is, but for the margin?"""
    try:
        with torch.inference_mode():
            wide = Wide(graph).run(*example)
    except Exception:  # an operator that insists on float32: there is nothing to judge by
        return False
    truth = [output.numpy() for output in wide]
    allowed = _worst(truth, _run(graph, example)) - _MARGIN_DB
    return _worst(truth, _run(changed, example)) >= allowed


class Wide(fx.Interpreter):
    """Runs a graph in float64: inputs, weights and every float32 that a call names."""

    def run_node(self, n: fx.Node) -> Any:
        """The node's result, floats as float64."""
        return tree_map(_widened, super().run_node(n))

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        """The call with float64 wherever it asks for float32."""
        return super().call_function(target, *tree_map(_widened, (args, kwargs)))


def _widened(value: Any) -> Any:
    if value is torch.float32:
        return torch.float64
    if isinstance(value, torch.Tensor) and value.dtype == torch.float32:
        return value.double()
    return value


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

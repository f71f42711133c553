"""Is the tail the same program for any batch? The batched capture matched with the static one.

torch.export numbers values as it meets them, and a symbolic batch adds arithmetic on sizes: what is
`mul_1` in one capture may be `mul_3` in the other. The cuts are named after the static capture, so
the batched one gets its names, call by call. Then it is tried on two different samples at once: a
model whose samples influence each other (batch statistics, attention over the wrong axis) must not
be run on several clients' samples together.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import fx

from exporters.capture import capture_batched, flat_graph
from exporters.splitting import CutPoint

__all__ = ["batch_first", "batched_twin"]

_TOLERANCE = 1e-3  # of the largest value; kernels for two rows round otherwise than for one


def batched_twin(
    module: torch.nn.Module, example: Sequence[torch.Tensor], graph: fx.GraphModule
) -> fx.GraphModule | None:
    """`graph` with a symbolic batch, the same names and rows that do not see each other, or None.

    None means that the model takes one sample at a time.
    """
    program = capture_batched(module, example)
    if program is None:
        return None
    twin = flat_graph(program)
    if not _named_alike(twin, graph) or not _rows_alone(twin, graph, example):
        return None
    return twin


def batch_first(points: Sequence[CutPoint], twin: fx.GraphModule | None) -> list[CutPoint]:
    """The cuts at which axis 0 of every boundary tensor is the batch, as the wire assumes.

    Others exist: attention folds heads into axis 0, some layers put the sequence first.
    """
    if twin is None:
        return [p for p in points if all(spec.shape[:1] == (1,) for spec in p.tensors)]
    good = {node.name for node in twin.graph.nodes if _is_batch_first(node)}
    return [point for point in points if all(spec.name in good for spec in point.tensors)]


def _is_batch_first(node: fx.Node) -> bool:
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor) or value.ndim == 0:
        return False
    first, *rest = value.shape
    symbolic = isinstance(first, torch.SymInt) and bool(first.node.expr.is_Symbol)
    return symbolic and all(isinstance(size, int) for size in rest)


def _named_alike(twin: fx.GraphModule, graph: fx.GraphModule) -> bool:
    """Give the tensors of `twin` the names they have in `graph`; False if the calls differ."""
    theirs, ours = _tensors(twin), _tensors(graph)
    if [_call(node) for node in theirs] != [_call(node) for node in ours]:
        return False
    names = dict(zip(theirs, (node.name for node in ours), strict=True))
    taken = set(names.values())
    for index, node in enumerate(twin.graph.nodes):
        other = f"size_{index}"
        while other in taken:
            other += "_"
        node.name = names.get(node, node.name if node.op == "output" else other)
    twin.recompile()
    return True


def _tensors(graph: fx.GraphModule) -> list[fx.Node]:
    # tuples of tensors too: their parts are taken by getitem
    return [
        node
        for node in graph.graph.nodes
        if node.op in ("placeholder", "get_attr")
        or (node.op == "call_function" and not isinstance(node.meta.get("val"), _SIZES))
    ]


_SIZES = (torch.SymInt, torch.SymFloat, torch.SymBool, int)


def _call(node: fx.Node) -> tuple[str, str]:
    return node.op, "" if node.op == "placeholder" else str(node.target)


def _rows_alone(
    twin: fx.GraphModule, graph: fx.GraphModule, example: Sequence[torch.Tensor]
) -> bool:
    other = [_another(value) for value in example]
    rows = [torch.cat(pair) for pair in zip(example, other, strict=True)]
    with torch.inference_mode():
        together = twin(*rows)
        alone = [torch.cat(pair) for pair in zip(graph(*example), graph(*other), strict=True)]
    return all(_close(*pair) for pair in zip(alone, together, strict=True))


def _another(value: torch.Tensor) -> torch.Tensor:
    """Another sample of values that the model is known to take: the same ones, moved."""
    moved = value.reshape(-1).roll(1).reshape(value.shape)
    return moved * 0.5 if value.is_floating_point() else moved


def _close(alone: torch.Tensor, together: torch.Tensor) -> bool:
    if alone.shape != together.shape:
        return False
    right, seen = alone.double().nan_to_num(), together.double().nan_to_num()
    scale = float(right.abs().max()) if right.numel() else 0.0
    return bool(((right - seen).abs() <= _TOLERANCE * scale).all())

"""What of a lowered ExecuTorch program its delegate takes, by multiply-accumulates.

By nodes, a network of 300 delegated additions and one convolution that is not looks delegated; so
the share is of the work. It is counted on the lowered graphs, with the shapes that they were traced
with and PyTorch's own formulas (`torch.utils.flop_counter`), so nothing is run.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable, Iterator
from math import prod
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.utils.flop_counter import flop_registry

from exporters.diagnosis.place import module_of
from headtail.manifest import FORWARD, Coverage, LeftOver

__all__ = ["coverage"]


def coverage(lowered: ExportedProgram, delegate: str) -> Coverage:
    """Share of the multiply-accumulates in partitions of `delegate`, and what is outside.

    `lowered` is an edge program after `to_edge_transform_and_lower`. A program without any
    multiply-accumulates is covered wholly if no call is left, and else not at all.
    """
    outside = list(_calls(lowered.graph_module))
    partitions = [node for node in outside if "call_delegate" in str(node.target)]
    left = [node for node in outside if node not in partitions and node.target is not _GETITEM]
    inside = [part for node in partitions for part in _inside(lowered, node)]
    taken, missed = _macs(inside), _macs(left)
    share = taken / (taken + missed) if taken + missed else float(not left)
    return Coverage(delegate, share, len(partitions), _left_over(left))


_GETITEM = operator.getitem  # takes a value out of a tuple; nothing runs


def _calls(graph: fx.GraphModule) -> Iterator[fx.Node]:
    return (node for node in graph.graph.nodes if node.op == "call_function")


def _inside(lowered: ExportedProgram, partition: fx.Node) -> Iterator[fx.Node]:
    place: Any = partition.args[0]
    module: Any = getattr(lowered.graph_module, str(place.target))
    return _calls(module.original_module.graph_module)


def _macs(nodes: Iterable[fx.Node]) -> int:
    return sum(map(_macs_of, nodes))


def _macs_of(node: fx.Node) -> int:
    """Multiply-accumulates of one edge or ATen call."""
    target: Any = getattr(node.target, "_op", node.target)
    packet = getattr(target, "overloadpacket", None)
    values = fx.node.map_arg((node.args, node.kwargs), lambda operand: operand.meta["val"])
    out: Any = node.meta.get("val")
    if packet is torch.ops.aten.linear:
        weight: Any = values[0][1]  # (out, in)
        return int(prod(out.shape) * weight.shape[-1])
    if packet not in flop_registry:
        return 0
    return int(flop_registry[packet](*values[0], **values[1], out_val=out)) // 2


def _left_over(nodes: Iterable[fx.Node]) -> tuple[LeftOver, ...]:
    """Operators outside, each with how often and the module that calls it first."""
    named = [(_name(node), node) for node in nodes]
    counts = Counter(name for name, _ in named)
    first: dict[str, str] = {}
    for name, node in named:
        first.setdefault(name, module_of(node) or FORWARD)
    return tuple(LeftOver(name, first[name], count) for name, count in counts.items())


def _name(node: fx.Node) -> str:
    """`aten.roll` of `aten.roll.default`: what users know; Python's own functions by name."""
    target: Any = getattr(node.target, "_op", node.target)
    return str(getattr(target, "overloadpacket", None) or getattr(target, "__name__", target))

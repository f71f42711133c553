"""A flat graph with what phones and wires take at its edges.

int64 stays inside: inputs and outputs are int32. And a mask that is made from integer inputs
(attention over padded tokens) gets a float32 form of zeros and ones on its way to its users: all
codecs send that well enough, so a text model can be cut between two layers, and each side makes
the rest of the mask itself.
"""

from __future__ import annotations

import torch
from torch import fx

from exporters.spelling import dtype_of

__all__ = ["carry_masks", "is_mask", "narrow_edges"]

_aten = torch.ops.aten


def narrow_edges(graph: fx.Graph) -> None:
    """int64 stays inside: inputs and outputs of phones are int32."""
    for node in list(graph.nodes):
        if node.op == "placeholder" and dtype_of(node) == torch.int64:
            with graph.inserting_after(node):
                wide = graph.call_function(_aten.to.dtype, (node, torch.int64))
            wide.meta = dict(node.meta)
            for user in [user for user in node.users if user is not wide]:
                user.replace_input_with(node, wide)
            node.meta["val"] = node.meta["val"].to(torch.int32)
    output = next(node for node in graph.nodes if node.op == "output")
    with graph.inserting_before(output):
        output.args = (tuple(_narrowed(graph, node) for node in output.args[0]),)


def _narrowed(graph: fx.Graph, node: fx.Node) -> fx.Node:
    if dtype_of(node) != torch.int64:
        return node
    narrow = graph.call_function(_aten.to.dtype, (node, torch.int32))
    narrow.meta = {**node.meta, "val": node.meta["val"].to(torch.int32)}
    return narrow


def carry_masks(graph: fx.Graph) -> None:
    """Give every bool that integer inputs alone decide a float32 form before its users.

    The computation moves to the front of the graph, so that the float form is there at every cut.
    """
    made_of_integers = _made_of_integers(graph)
    masks = [n for n in graph.nodes if n in made_of_integers and dtype_of(n) == torch.bool]
    first = [m for m in masks if not _comes_from(m, masks)]
    if not first:
        return
    _hoist(graph, first)
    for mask in first:
        users = list(mask.users)
        with graph.inserting_after(mask):
            floats = graph.call_function(_aten.to.dtype, (mask, torch.float32))
        with graph.inserting_after(floats):
            again = graph.call_function(_aten.gt.Scalar, (floats, 0.5))
        floats.meta = {**mask.meta, "val": mask.meta["val"].to(torch.float32)}
        again.meta = dict(mask.meta)
        for user in users:
            user.replace_input_with(mask, again)


def is_mask(node: fx.Node) -> bool:
    """Is it the float32 form of a mask: zeros and ones, whatever a calibration set shows of it?"""
    sources = node.all_input_nodes
    return node.target is _aten.to.dtype and dtype_of(sources[0]) == torch.bool


def _made_of_integers(graph: fx.Graph) -> set[fx.Node]:
    """The values that depend on inputs, none of which is a float."""
    found: set[fx.Node] = set()
    floats: set[fx.Node] = set()
    for node in graph.nodes:
        sources = set(node.all_input_nodes)
        if not isinstance(node.meta.get("val"), torch.Tensor):
            continue  # a size of a symbolic batch, or a tuple
        is_float = node.op == "placeholder" and node.meta["val"].is_floating_point()
        if is_float or sources & floats:
            floats.add(node)
        elif node.op == "placeholder" or sources & found:
            found.add(node)
    return found


def _comes_from(node: fx.Node, masks: list[fx.Node]) -> bool:
    return bool(_upstream(node).intersection(masks))


def _upstream(node: fx.Node) -> set[fx.Node]:
    seen: set[fx.Node] = set()
    stack = list(node.all_input_nodes)
    while stack:
        source = stack.pop()
        if source not in seen:
            seen.add(source)
            stack.extend(source.all_input_nodes)
    return seen


def _hoist(graph: fx.Graph, masks: list[fx.Node]) -> None:
    """Move what the masks are made of in front of all other calls, in the order it has."""
    wanted = set(masks).union(*map(_upstream, masks))
    moved = [n for n in graph.nodes if n.op in ("call_function", "get_attr") and n in wanted]
    rest = (n for n in graph.nodes if n.op == "call_function" and n not in wanted)
    if (following := next(rest, None)) is not None:
        for node in moved:
            following.prepend(node)

"""In-place calls made out of place, where that changes nothing else.

torch.export keeps `relu_` and `add_` as the model has them. Its own functionalization decomposes
what it passes: a reshape becomes a clone and a view, a batch norm one with three results, and
converters and rewrites know the operators as the model wrote them. So in-place calls on values that
nobody sees through a view are renamed here, and only a program that has others goes that way.
https://docs.pytorch.org/docs/stable/torch.compiler_functionalization.html
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx
from torch.utils._pytree import tree_map_only

__all__ = ["is_mutable", "rename_in_place"]

# In eval mode these return their input itself, which their schemas do not say.
_UNSAID = ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")


def is_mutable(node: fx.Node) -> bool:
    """Does the call write to one of its arguments?"""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


def rename_in_place(graph: fx.Graph) -> bool:
    """Make every in-place call of `graph` out of place, or leave the graph alone: was it done?"""
    order = {node: index for index, node in enumerate(graph.nodes)}
    plan = [(node, _out_of_place(node, order)) for node in graph.nodes if is_mutable(node)]
    if any(target is None for _, target in plan):
        return False
    for node, target in plan:
        before = node.args[0]
        node.target = target
        for user in [user for user in before.users if order[user] > order[node]]:
            user.replace_input_with(before, node)
    return True


def _out_of_place(node: fx.Node, order: dict[fx.Node, int]) -> Any:
    """The operator that returns what `node` writes, or None if somebody would miss the writing."""
    written = node.args[0] if node.args else None
    called: Any = node.target
    name, overload = called._schema.name.removeprefix("aten::"), called._overloadname
    target = getattr(getattr(torch.ops.aten, name.removesuffix("_"), None), overload, None)
    if target is None or not name.endswith("_") or name.endswith("__"):
        return None
    if not isinstance(written, fx.Node) or _seen(written, order[node], order):
        return None
    return target if _same_value(target, node) else None


def _seen(written: fx.Node, at: int, order: dict[fx.Node, int]) -> bool:
    """Would anybody but the users of `written` see it written to at position `at`?"""
    base = written
    while base.op == "call_function" and (_is_view(base) or is_mutable(base)):
        if getattr(base.target, "_schema", None) is None:
            return True  # a piece of a split, a higher-order call: nothing is known of it
        base = base.all_input_nodes[0]
    if base.op != "call_function":
        return True  # a weight or an input of the program: its caller sees it
    sharing = _views(base, at, order) | {base}
    return any(order[user] > at for node in sharing - {written} for user in node.users)


def _views(base: fx.Node, at: int, order: dict[fx.Node, int]) -> set[fx.Node]:
    """What shares memory with `base` before position `at`."""
    found: set[fx.Node] = set()
    for user in base.users:
        if order[user] < at and (_is_view(user) or is_mutable(user)):
            found |= {user} | _views(user, at, order)
    return found


def _is_view(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    if schema is None or schema.name.removeprefix("aten::") in _UNSAID:
        return True
    shared = [argument.alias_info for argument in schema.arguments if argument.alias_info]
    return any(not info.is_write for info in shared)


def _same_value(target: Any, node: fx.Node) -> bool:
    """Does `target` give the shape and dtype of `node`? (In place there is no type promotion.)"""
    args, kwargs = tree_map_only(fx.Node, lambda n: n.meta["val"], (node.args, node.kwargs))
    value = node.meta["val"]
    with value.fake_mode:
        made = target(*args, **kwargs)
    return bool(made.shape == value.shape and made.dtype == value.dtype)

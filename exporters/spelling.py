"""One spelling for each call of a flat graph: ATen has synonyms that converters do not all know.

Casts that change nothing are dropped and the others become `aten.to.dtype`: device and layout are
those of wherever the program runs. Synonyms (NumPy's names, Python's operators on masks) get the
name that ATen itself dispatches to, with the same arguments, so nothing is computed otherwise.
https://github.com/pytorch/pytorch/blob/main/aten/src/ATen/native/native_functions.yaml
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

__all__ = ["dtype_of", "plain_calls"]

_aten = torch.ops.aten
_SYNONYMS = {
    "absolute": "abs",
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctan2": "atan2",
    "arctanh": "atanh",
    "clip": "clamp",
    "concat": "cat",
    "concatenate": "cat",
    "divide": "div",
    "fix": "trunc",
    "greater": "gt",
    "greater_equal": "ge",
    "less": "lt",
    "less_equal": "le",
    "multiply": "mul",
    "negative": "neg",
    "not_equal": "ne",
    "special_expit": "sigmoid",
    "subtract": "sub",
    "true_divide": "div",
    "__and__": "bitwise_and",
    "__or__": "bitwise_or",
    "__xor__": "bitwise_xor",
}
# The same with another overload: (operator, overload) -> (operator, overload).
_OVERLOADS = {
    ("swapaxes", "default"): ("transpose", "int"),
    ("swapdims", "default"): ("transpose", "int"),
    ("special_softmax", "default"): ("softmax", "int"),
    ("special_log_softmax", "default"): ("log_softmax", "int"),
}
# On masks bitwise is logical, which more converters know.
_ON_MASKS = {
    _aten.bitwise_and.Tensor: _aten.logical_and.default,
    _aten.bitwise_or.Tensor: _aten.logical_or.default,
    _aten.bitwise_xor.Tensor: _aten.logical_xor.default,
    _aten.bitwise_not.default: _aten.logical_not.default,
}
_FILLED = {_aten.new_zeros.default: 0, _aten.new_ones.default: 1}


def plain_calls(graph: fx.Graph) -> None:
    """Spell every call as described above, in place."""
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        if node.target is _aten._assert_tensor_metadata.default:
            graph.erase_node(node)  # of the value that is cast next, which capture itself made
            continue
        node.target = _spelled(node)
        if node.target in _FILLED or node.target is _aten.new_full.default:
            _fill(node)
        elif (wanted := _cast_to(node)) is not None:
            _cast(graph, node, wanted)


def dtype_of(value: Any) -> torch.dtype | None:
    """The dtype of a graph's tensor, None for sizes, tuples and plain numbers."""
    found = value.meta.get("val") if isinstance(value, fx.Node) else None
    return found.dtype if isinstance(found, torch.Tensor) else None


def _spelled(node: fx.Node) -> Any:
    target: Any = node.target
    packet = getattr(target, "overloadpacket", None)
    if packet is None:
        return target
    name, overload = packet.__name__, target._overloadname
    other, of = _OVERLOADS.get((name, overload), (_SYNONYMS.get(name, name), overload))
    target = getattr(getattr(_aten, other), of, target) if other != name else target
    masks = all(dtype_of(source) == torch.bool for source in node.all_input_nodes)
    return _ON_MASKS.get(target, target) if masks else target


def _fill(node: fx.Node) -> None:
    """`x.new_ones(size)` needs nothing of `x`."""
    size = node.args[1]
    value = _FILLED[node.target] if node.target in _FILLED else node.args[2]
    node.target, node.args, node.kwargs = (
        _aten.full.default,
        (size, value),
        {"dtype": dtype_of(node)},
    )


def _cast_to(node: fx.Node) -> torch.dtype | None:
    """The dtype that a call of `aten.to` gives, None for other calls and moved memory formats."""
    packet = getattr(node.target, "overloadpacket", None)
    if packet is not _aten.to or node.kwargs.get("memory_format") is not None:
        return None
    return dtype_of(node)


def _cast(graph: fx.Graph, node: fx.Node, wanted: torch.dtype) -> None:
    value: Any = node.args[0]
    if dtype_of(value) == wanted:
        node.replace_all_uses_with(value)
        graph.erase_node(node)
    else:
        node.target, node.args, node.kwargs = _aten.to.dtype, (value, wanted), {}

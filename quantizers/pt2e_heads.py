"""Heads cut out of the quantized graph of `forward`, so that both share weights and scales.

A head is matched by what it computes (operators, arguments, weights), not by names, and then cut
at the values of the quantized graph that mean the same.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from headtail.errors import ConversionFailed
from headtail.manifest import FORWARD

if TYPE_CHECKING:
    from torch import fx

__all__ = ["cut", "outputs_in_forward"]


def outputs_in_forward(flat: Mapping[str, fx.GraphModule]) -> dict[str, list[str]]:
    """For every entry and value it returns: the name that the value has in `forward`.

    Raises `ConversionFailed` for a head that computes what `forward` does not.
    """
    known = {digest: node.name for node, digest in _meanings(flat[FORWARD]).items()}
    found = {}
    for name, module in flat.items():
        meanings = _meanings(module)
        wanted = _output(module).all_input_nodes
        lost = [node for node in wanted if meanings[node] not in known]
        if lost:
            raise ConversionFailed(
                f"Entry point {name!r} returns {lost[0].name!r}, which {FORWARD!r} never computes.",
                expected=f"A head is a part of {FORWARD!r}: same operators, weights and inputs.",
                remedy="Cut the head out of the graph that forward was exported from.",
            )
        found[name] = [known[meanings[node]] for node in wanted]
    return found


def cut(quantized: fx.GraphModule, wanted: Sequence[fx.Node]) -> fx.GraphModule:
    """Inputs to `wanted`, as a module that returns a tuple."""
    from torch import fx

    # not by eliminating dead code, which spares operators like dropout and all that leads to them
    needed, stack = set[fx.Node](), list(wanted)
    while stack:
        node = stack.pop()
        if node not in needed:
            needed.add(node)
            stack.extend(node.all_input_nodes)
    part, made = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in quantized.graph.nodes:
        if node in needed or node.op == "placeholder":  # an entry point takes every input
            made[node] = part.node_copy(node, lambda source: made[source])
    part.output(tuple(made[node] for node in wanted))
    return fx.GraphModule(quantized, part)  # copies only the weights that `part` uses


def _output(module: fx.GraphModule) -> fx.Node:
    return cast("fx.Node", next(node for node in module.graph.nodes if node.op == "output"))


def _meanings(module: fx.GraphModule) -> dict[fx.Node, bytes]:
    """Node -> digest of everything that determines its value: two equal digests, one value."""
    meanings: dict[fx.Node, bytes] = {}
    inputs = 0
    for node in module.graph.nodes:
        if node.op == "placeholder":
            text, inputs = f"input {inputs}", inputs + 1
        elif node.op == "get_attr":
            text = _weight_digest(module, str(node.target))
        else:
            text = f"{node.target} {_describe((node.args, node.kwargs), meanings)}"
        meanings[node] = hashlib.sha256(text.encode()).digest()
    return meanings


def _weight_digest(module: Any, target: str) -> str:
    array = operator.attrgetter(target)(module).detach().contiguous().numpy()
    return f"{array.dtype}{array.shape}{hashlib.sha256(array.tobytes()).hexdigest()}"


def _describe(value: Any, meanings: Mapping[fx.Node, bytes]) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{','.join(_describe(item, meanings) for item in value)}]"
    if isinstance(value, dict):
        return _describe([item for pair in sorted(value.items()) for item in pair], meanings)
    known = meanings.get(value) if hasattr(value, "all_input_nodes") else None
    return repr(value) if known is None else known.hex()

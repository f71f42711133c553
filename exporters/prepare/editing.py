"""Writing ATen calls into a flat graph, each with its value, module path and source line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx
from torch._subclasses.fake_tensor import FakeTensorMode

__all__ = ["Editor", "is_call", "shape_of", "weight_of"]

# What tells a user where a node came from; inherited by the nodes that replace it.
_ORIGIN = ("nn_module_stack", "stack_trace", "source_fn_stack")


class Editor:
    """Inserts calls before `at`. Values are computed on fake tensors, so errors show at once."""

    def __init__(self, graph: fx.GraphModule, at: fx.Node) -> None:
        self._module = graph
        self._at = at
        self._mode: FakeTensorMode = _fake_mode(graph)

    def call(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """`target(*args, **kwargs)`, an ATen overload over nodes and plain values."""
        with self._module.graph.inserting_before(self._at):
            node = self._module.graph.call_function(target, args, kwargs)
        given = fx.node.map_arg((args, kwargs), lambda n: n.meta["val"])
        with self._mode, torch.no_grad():
            node.meta["val"] = target(*given[0], **given[1])
        node.meta |= {key: self._at.meta[key] for key in _ORIGIN if key in self._at.meta}
        return node

    def constant(self, hint: str, value: torch.Tensor) -> fx.Node:
        """`value` as a weight of the graph; `hint` becomes part of its name."""
        index = 0
        while hasattr(self._module, f"prepared_{hint}_{index}"):
            index += 1
        name = f"prepared_{hint}_{index}"
        # axes of size 1 have strides too, which .contiguous() keeps and serializers read
        dense = value.detach().clone(memory_format=torch.contiguous_format)
        self._module.register_buffer(name, dense)
        with self._module.graph.inserting_before(self._at):
            node = self._module.graph.get_attr(name)
        node.meta["val"] = self._mode.from_tensor(dense)
        return node

    def replace(self, new: fx.Node) -> None:
        """Everyone who used the node at which this editor stands uses `new`; the node goes."""
        self._at.replace_all_uses_with(new)
        self._module.graph.erase_node(self._at)


def is_call(node: Any, *targets: Callable[..., Any]) -> bool:
    """Whether `node` is a call of one of the overloads."""
    return isinstance(node, fx.Node) and node.op == "call_function" and node.target in targets


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Sizes of a node's value."""
    return tuple(int(size) for size in node.meta["val"].shape)


def weight_of(graph: fx.GraphModule, node: Any) -> torch.Tensor | None:
    """The tensor behind a `get_attr` node, or None if the value is computed (or absent)."""
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return None
    path, _, leaf = str(node.target).rpartition(".")
    found = getattr(graph.get_submodule(path), leaf)
    return found.detach() if isinstance(found, torch.Tensor) else None


def _fake_mode(graph: fx.GraphModule) -> FakeTensorMode:
    for node in graph.graph.nodes:
        mode = getattr(node.meta.get("val"), "fake_mode", None)
        if mode is not None:
            return mode  # type: ignore[no-any-return]  # a FakeTensor was asked for its mode
    return FakeTensorMode()

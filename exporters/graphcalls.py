"""The calls of a tail's program: torch.fx nodes to plain values and back.

See `exporters.graphfile` for the encoding. Whatever is read here comes from a stranger: operators
and keywords are resolved by `exporters.operators`, names are only ever looked up in dictionaries.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from exporters.operators import SIZE_OPERATORS, check_keywords, resolve
from headtail.errors import SchemaFault, SourceFault

__all__ = ["SCHEMA_VERSION", "Call", "ProgramFile", "encode", "insert", "references"]

SCHEMA_VERSION = 1
_BATCH = "batch"
_REMEDY = "Export the bundle again with this version of Headtail."
# Where a result lies in memory is the server's affair.
_PLACES = frozenset({"device", "layout", "pin_memory"})
# Assertions about shapes that capture leaves behind: they compute nothing.
_NO_EFFECT = re.compile(r"aten\.(_assert\w*|sym_constrain\w*)\.")
_CONSTANTS = {
    name: value
    for name, value in vars(torch).items()
    if isinstance(value, (torch.dtype, torch.memory_format))
}


@dataclass(frozen=True)
class Call:
    """One operator call; `args` and `kwargs` in the encoding of the module docstring."""

    name: str
    op: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass(frozen=True)
class ProgramFile:
    """`program.json`."""

    schema_version: int
    one_sample: bool
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: tuple[str, ...]
    calls: tuple[Call, ...]


def insert(graph: fx.Graph, call: Call, made: Mapping[str, fx.Node], first: str) -> fx.Node:
    """Append `call` to `graph`; `made` are the nodes so far, `first` one of batch first."""
    if call.op == _BATCH:
        return graph.call_function(torch.ops.aten.sym_size.int, (made[first], 0))
    check_keywords(call.op, call.kwargs)
    if call.op in SIZE_OPERATORS:
        _check_sizes(call)
    args = tuple(_decode(arg, made) for arg in call.args)
    kwargs = {key: _decode(arg, made) for key, arg in call.kwargs.items()}
    return graph.call_function(resolve(call.op), args, kwargs)


def _check_sizes(call: Call) -> None:
    """Python's operators take more than numbers, and torch.fx writes them as source, in place."""
    wanted = 1 if call.op == "neg" else 2
    numbers = (isinstance(arg, (dict, int, float)) for arg in call.args)
    if len(call.args) != wanted or not all(numbers):
        raise SchemaFault(
            f"{call.op} has the arguments {str(call.args)[:80]}, not {wanted} sizes",
            "$.calls",
            remedy=_REMEDY,
        )


def references(value: Any) -> list[str]:
    """Names of the values that an encoded argument is made of."""
    if isinstance(value, dict):
        if set(value) == {"value"} and isinstance(value["value"], str):
            return [value["value"]]
        return [name for item in value.values() for name in references(item)]
    if isinstance(value, (list, tuple)):
        return [name for item in value for name in references(item)]
    return []


def _decode(value: Any, made: Mapping[str, fx.Node]) -> Any:
    if isinstance(value, (list, tuple)):
        return [_decode(item, made) for item in value]
    if not isinstance(value, dict):
        return value
    kind, inner = next(iter(value.items())) if len(value) == 1 else ("", None)
    if kind == "value" and isinstance(inner, str) and inner in made:
        return made[inner]
    if kind == "float" and isinstance(inner, str) and inner in ("inf", "-inf", "nan"):
        return float(inner)
    if kind in ("dtype", "memory_format") and isinstance(inner, str) and inner in _CONSTANTS:
        return _CONSTANTS[inner]
    raise SchemaFault(f"Argument {str(value)[:80]!r} is not understood", "$.calls", remedy=_REMEDY)


def encode(
    graph_module: fx.GraphModule, one_sample: bool
) -> tuple[ProgramFile, dict[str, torch.Tensor]]:
    """A flat graph as what is written, and its weights; `SourceFault` for what no tail may hold."""
    inputs: list[str] = []
    weights: dict[str, torch.Tensor] = {}
    calls: list[Call] = []
    outputs: tuple[str, ...] = ()
    for node in graph_module.graph.nodes:
        if node.op == "placeholder":
            inputs.append(node.name)
        elif node.op == "get_attr":
            weights[node.name] = _weight(graph_module, str(node.target))
        elif node.op == "output":
            outputs = tuple(out.name for out in node.args[0])
        elif not _NO_EFFECT.match(str(node.target)):
            calls.append(_encode_call(node))
    program = ProgramFile(
        SCHEMA_VERSION, one_sample, tuple(inputs), outputs, tuple(sorted(weights)), tuple(calls)
    )
    return program, weights


def _weight(module: torch.nn.Module, target: str) -> torch.Tensor:
    value: Any = module
    for part in target.split("."):
        value = getattr(value, part)
    if not isinstance(value, torch.Tensor):
        raise SourceFault(
            f"Attribute {target!r} of the graph is a {type(value).__name__}.",
            expected="A tail holds tensors and ATen calls only.",
            remedy="Rewrite the model without control-flow operators such as torch.cond.",
        )
    return value.detach().contiguous()


def _encode_call(node: fx.Node) -> Call:
    if _is_batch(node):
        return Call(node.name, _BATCH, (), {})
    names = {function: name for name, function in SIZE_OPERATORS.items()}
    op = (names.get(node.target) if callable(node.target) else None) or str(node.target)
    _check_operator(op, node)
    args = tuple(_encode_value(arg, node) for arg in node.args)
    kwargs = {key: _encode_value(a, node) for key, a in node.kwargs.items() if key not in _PLACES}
    return Call(node.name, op, args, kwargs)


def _check_operator(op: str, node: fx.Node) -> None:
    try:
        resolve(op)
    except SchemaFault as error:
        raise SourceFault(
            f"Node {node.name!r} calls {op}.",
            expected="A tail holds functional ATen operators: every server has them.",
            remedy="Rewrite that part of the model with torch's own operators.",
        ) from error


def _is_batch(node: fx.Node) -> bool:
    """Is it the symbolic batch itself, not a multiple of it (windows, heads folded into axis 0)?"""
    value = node.meta.get("val")
    return (
        node.target is torch.ops.aten.sym_size.int
        and isinstance(value, torch.SymInt)
        and bool(value.node.expr.is_Symbol)
    )


def _encode_value(value: Any, node: fx.Node) -> Any:
    if isinstance(value, fx.Node):
        return {"value": value.name}
    if isinstance(value, (list, tuple)):
        return [_encode_value(item, node) for item in value]
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, torch.memory_format):
        return {"memory_format": str(value).removeprefix("torch.")}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise SourceFault(
        f"Node {node.name!r} ({node.target}) has an argument of type {type(value).__name__}.",
        expected="A tail holds tensors, numbers, strings, dtypes and lists of them.",
        remedy="Rewrite that part of the model, or export it without cuts.",
    )

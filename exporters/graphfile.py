"""A captured program on disk without pickle, which can be entered at any cut.

`torch.export.save` writes pickled sample inputs into its archive, and a server must be able to load
a stranger's bundle. So a tail is two files: `program.json`, the flat list of ATen calls in
topological order, and `weights.safetensors`. Reading resolves names in `torch.ops.aten` only, and
refuses operators that could do harm (`exporters.operators`). No name from the file reaches the
source that torch.fx writes and runs: values and weights are numbered, keywords are the schema's.

    {"schema_version": 1, "one_sample": false, "inputs": [...], "outputs": [...], "weights": [...],
     "calls": [{"name": "conv2d", "op": "aten.conv2d.default", "args": [...], "kwargs": {...}}]}

An argument is a JSON scalar, a list, or an object with one key: `{"value": name}` (the result of
another call, an input or a weight), `{"dtype": "float32"}`, `{"memory_format": "..."}`,
`{"float": "inf"}`. The pseudo operator `batch` is the batch size, wherever the program is entered.
A program of `one_sample` refuses larger batches: it would fail on them or mix the samples.
ATen: https://docs.pytorch.org/docs/stable/user_guide/torch_compiler/torch.compiler_ir.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import fx

from exporters.operators import SIZE_OPERATORS, check_keywords, resolve
from headtail.errors import BundleMismatch, SchemaFault, SourceFault, TensorMismatch
from headtail.strictjson import canonical_bytes, from_json, parse
from headtail.tensorfile import read_tensors, write_tensors

__all__ = ["TailProgram"]

SCHEMA_VERSION = 1
MAX_PROGRAM_BYTES = 64 << 20
_BATCH = "batch"
_REMEDY = "Export the bundle again with this version of Headtail."
# Where a result lies in memory is the server's affair.
_PLACES = frozenset({"device", "layout", "pin_memory"})
# Assertions about shapes that capture leaves behind: they compute nothing.
_NO_EFFECT = re.compile(r"aten\.(_assert\w*|sym_constrain\w*)\.")


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


class TailProgram:
    """A program of ATen calls with its weights (float32 tensors, shared by all entered modules)."""

    def __init__(self, program: ProgramFile, weights: Mapping[str, torch.Tensor]) -> None:
        self._program = program
        self._weights = dict(weights)

    @property
    def one_sample(self) -> bool:
        """Does it take one sample at a time?"""
        return self._program.one_sample

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the model's own inputs, in order."""
        return self._program.inputs

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the values the program returns, in order."""
        return self._program.outputs

    @classmethod
    def of(cls, graph_module: fx.GraphModule, *, one_sample: bool = False) -> TailProgram:
        """From a flat graph of ATen calls (`exporters.capture.flat_graph`).

        `one_sample` for a static capture. Raises `SourceFault` for calls that no tail may hold.
        """
        return cls(*_encode(graph_module, one_sample))

    def write(self, program_path: Path, weights_path: Path) -> None:
        """Write both files; same program, same bytes."""
        program_path.write_bytes(canonical_bytes(self._program))
        arrays = {name: tensor.detach().numpy() for name, tensor in self._weights.items()}
        write_tensors(weights_path, arrays)

    @classmethod
    def read(cls, program_path: Path, weights_path: Path) -> TailProgram:
        """Read both files; raises `SchemaFault` for anything but plain ATen calls."""
        if program_path.stat().st_size > MAX_PROGRAM_BYTES:
            raise SchemaFault(
                f"The program has more than {MAX_PROGRAM_BYTES} bytes", "$", remedy=_REMEDY
            )
        program = from_json(ProgramFile, parse(program_path.read_bytes()))
        if program.schema_version != SCHEMA_VERSION:
            raise SchemaFault(
                f"Schema version {program.schema_version} is not {SCHEMA_VERSION}",
                "$.schema_version",
                remedy=_REMEDY,
            )
        arrays = read_tensors(weights_path)
        missing = sorted(set(program.weights) ^ set(arrays))
        if missing:
            raise SchemaFault(
                f"Weight {missing[0]!r} is in one file only", "$.weights", remedy=_REMEDY
            )
        # copied into torch's own memory: its alignment decides which kernels run, and so the bits
        weights = {name: torch.from_numpy(array.copy()).clone() for name, array in arrays.items()}
        return cls(program, weights)

    def enter(
        self, boundary: Sequence[str], *, until: Sequence[str] | None = None
    ) -> torch.nn.Module:
        """The part of the program that follows `boundary`, as a module over those values.

        `boundary` names model inputs or results of calls; the module takes them in that order
        (batch first, any batch size, but for programs of `one_sample`) and returns the values named
        by `until` as a tuple, the program's outputs if it is None. Modules of one program share its
        weights. Raises `BundleMismatch` if the boundary alone does not give what is asked for.
        """
        calls = {call.name: call for call in self._program.calls}
        outputs = self._program.outputs if until is None else tuple(until)
        order = self._needed(boundary, calls, outputs)
        graph, root = fx.Graph(), torch.nn.Module()
        made = {name: graph.placeholder(f"value_{i}") for i, name in enumerate(boundary)}
        for index, name in enumerate(order):
            if name in self._weights:
                root.register_buffer(f"weight_{index}", self._weights[name])
                made[name] = graph.get_attr(f"weight_{index}")
            else:
                made[name] = _insert(graph, calls[name], made, boundary[0])
            made[name].meta["tail_name"] = name  # for diagnosis; torch.fx never writes it anywhere
        graph.output(tuple(made[name] for name in outputs))
        graph.lint()
        module = fx.GraphModule(root, graph).eval()
        return _OneSample(module).eval() if self._program.one_sample else module

    def calls_after(self, boundary: Sequence[str]) -> int:
        """How many calls lead from `boundary` to the outputs; raises as `enter`.

        Of two cuts of one program, the earlier one has more (or equally many) to go.
        """
        calls = {call.name: call for call in self._program.calls}
        needed = self._needed(boundary, calls, self._program.outputs)
        return sum(name in calls for name in needed)

    def _needed(
        self, boundary: Sequence[str], calls: Mapping[str, Call], outputs: Sequence[str]
    ) -> list[str]:
        wanted, stack = set[str](), list(outputs)
        while stack:
            name = stack.pop()
            if name in wanted or name in boundary:
                continue
            wanted.add(name)
            if name in calls:
                stack.extend(_references((calls[name].args, calls[name].kwargs)))
            elif name not in self._weights:
                self._refuse(boundary, name)
        weights = [name for name in self._program.weights if name in wanted]
        return weights + [call.name for call in self._program.calls if call.name in wanted]

    def _refuse(self, boundary: Sequence[str], name: str) -> None:
        raise BundleMismatch(
            f"What follows needs {name!r}, which is not among the boundary tensors "
            f"{list(boundary)}.",
            held={"inputs": list(self._program.inputs)},
            expected="A boundary names every value that the rest of the program uses.",
            remedy="Use a cut of this bundle's manifest.",
        )


class _OneSample(torch.nn.Module):
    """Refuses what is not one sample."""

    def __init__(self, program: fx.GraphModule) -> None:
        super().__init__()
        self.program = program

    def forward(self, *values: torch.Tensor) -> Any:
        for value in values:
            if value.shape[:1] != (1,):
                raise TensorMismatch(
                    f"A tensor of shape {list(value.shape)} was sent.",
                    expected="This model takes one sample at a time: axis 0 is 1.",
                    remedy="Send the samples one by one.",
                )
        return self.program(*values)


def _insert(graph: fx.Graph, call: Call, made: Mapping[str, fx.Node], first: str) -> fx.Node:
    if call.op == _BATCH:
        return graph.call_function(torch.ops.aten.sym_size.int, (made[first], 0))
    check_keywords(call.op, call.kwargs)
    args = tuple(_decode(arg, made) for arg in call.args)
    kwargs = {key: _decode(arg, made) for key, arg in call.kwargs.items()}
    return graph.call_function(resolve(call.op), args, kwargs)


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        if set(value) == {"value"} and isinstance(value["value"], str):
            return [value["value"]]
        return [name for item in value.values() for name in _references(item)]
    if isinstance(value, (list, tuple)):
        return [name for item in value for name in _references(item)]
    return []


def _decode(value: Any, made: Mapping[str, fx.Node]) -> Any:
    if isinstance(value, (list, tuple)):
        return [_decode(item, made) for item in value]
    if not isinstance(value, dict):
        return value
    kind, inner = next(iter(value.items())) if len(value) == 1 else ("", None)
    if kind == "value" and isinstance(inner, str) and inner in made:
        return made[inner]
    if kind == "float" and inner in ("inf", "-inf", "nan"):
        return float(inner)
    if kind in ("dtype", "memory_format") and isinstance(inner, str):
        found = getattr(torch, inner, None)
        if isinstance(found, (torch.dtype, torch.memory_format)):
            return found
    raise SchemaFault(f"Argument {value!r} is not understood", "$.calls", remedy=_REMEDY)


def _encode(
    graph_module: fx.GraphModule, one_sample: bool
) -> tuple[ProgramFile, dict[str, torch.Tensor]]:
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

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

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx

from exporters.graphcalls import SCHEMA_VERSION, ProgramFile, encode, insert, references
from headtail.errors import BundleMismatch, SchemaFault, TensorMismatch
from headtail.strictjson import canonical_bytes, from_json, parse
from headtail.tensorfile import read_tensors, write_tensors
from headtail.tensors import Array

__all__ = ["TailProgram"]

MAX_PROGRAM_BYTES = 16 << 20
MAX_CALLS = 25_000  # torch.fx takes 0.15 ms and 10 kB for each
_REMEDY = "Export the bundle again with this version of Headtail."


class TailProgram:
    """A program of ATen calls with its weights (float32 tensors, shared by all entered modules)."""

    def __init__(self, program: ProgramFile, weights: Mapping[str, torch.Tensor]) -> None:
        self._program = program
        self._weights = dict(weights)
        self._calls = {call.name: call for call in program.calls}

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
        return cls(*encode(graph_module, one_sample))

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
        _check_names(program)
        arrays = read_tensors(weights_path)
        missing = sorted(set(program.weights) ^ set(arrays))
        if missing:
            raise SchemaFault(
                f"Weight {missing[0]!r} is in one file only", "$.weights", remedy=_REMEDY
            )
        return cls(program, {name: _own(array) for name, array in arrays.items()})

    def enter(
        self, boundary: Sequence[str], *, until: Sequence[str] | None = None
    ) -> torch.nn.Module:
        """The part of the program that follows `boundary`, as a module over those values.

        `boundary` names model inputs or results of calls; the module takes them in that order
        (batch first, any batch size, but for programs of `one_sample`) and returns the values named
        by `until` as a tuple, the program's outputs if it is None. Modules of one program share its
        weights. Raises `BundleMismatch` if the boundary alone does not give what is asked for.
        """
        outputs = self._program.outputs if until is None else tuple(until)
        order = self._needed(boundary, outputs)
        graph, root = fx.Graph(), torch.nn.Module()
        made = {name: graph.placeholder(f"value_{i}") for i, name in enumerate(boundary)}
        for index, name in enumerate(order):
            if name in self._weights:
                root.register_buffer(f"weight_{index}", self._weights[name])
                made[name] = graph.get_attr(f"weight_{index}")
            else:
                made[name] = insert(graph, self._calls[name], made, boundary[0])
            made[name].meta["tail_name"] = name  # for diagnosis; torch.fx never writes it anywhere
        graph.output(tuple(made[name] for name in outputs))
        graph.lint()
        module = fx.GraphModule(root, graph).eval()
        return _OneSample(module).eval() if self._program.one_sample else module

    def calls_after(self, boundary: Sequence[str]) -> int:
        """How many calls lead from `boundary` to the outputs; raises as `enter`.

        Of two cuts of one program, the earlier one has more (or equally many) to go.
        """
        needed = self._needed(boundary, self._program.outputs)
        return sum(name in self._calls for name in needed)

    def _needed(self, boundary: Sequence[str], outputs: Sequence[str]) -> list[str]:
        if not boundary or len(set(boundary)) < len(boundary):
            raise self._refusal(f"The boundary is {list(boundary)}.")
        calls, given = self._calls, frozenset(boundary)
        wanted, stack = set[str](), list(outputs)
        while stack:
            name = stack.pop()
            if name in wanted or name in given:
                continue
            wanted.add(name)
            if name in calls:
                stack.extend(references((calls[name].args, calls[name].kwargs)))
            elif name not in self._weights:
                raise self._refusal(
                    f"What follows needs {name!r}, which is not among the boundary tensors "
                    f"{list(boundary)}."
                )
        weights = [name for name in self._program.weights if name in wanted]
        return weights + [call.name for call in self._program.calls if call.name in wanted]

    def _refusal(self, what: str) -> BundleMismatch:
        return BundleMismatch(
            what,
            held={"inputs": list(self._program.inputs)},
            expected="A boundary names every value that the rest of the program uses, each once.",
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


def _check_names(program: ProgramFile) -> None:
    if len(program.calls) > MAX_CALLS:
        raise SchemaFault(
            f"{len(program.calls)} calls are more than {MAX_CALLS}", "$.calls", remedy=_REMEDY
        )
    named = (*program.inputs, *program.weights, *(call.name for call in program.calls))
    if len(set(named)) < len(named):
        twice = next(name for name, count in Counter(named).items() if count > 1)
        raise SchemaFault(f"{twice[:80]!r} names two values", "$.calls", remedy=_REMEDY)
    if not program.inputs or not program.outputs:
        raise SchemaFault("A program has inputs and outputs", "$", remedy=_REMEDY)


def _own(array: Array) -> torch.Tensor:
    """A copy in torch's own memory, whose alignment decides which kernels run, and so the bits."""
    copy = torch.empty(array.shape, dtype=torch.from_numpy(np.empty(0, array.dtype)).dtype)
    copy.numpy()[...] = array
    return copy

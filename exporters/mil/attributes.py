"""Attributes that hardly move a result, held against the captured PyTorch program.

A wrong epsilon or an approximated GELU leaves many networks above the float32 gate of 85 dB
(benchmarks/mutations.py counts them). Neither can come from nowhere: every epsilon of a norm in the
file is a number of the captured program, and every GELU is one of the kinds it has. What this does
not see: two norms of one program that have exchanged their epsilons.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx

from exporters.mil.evaluation import Program
from exporters.mil.steps import FunctionCode, Step
from headtail.errors import GateFailed

__all__ = ["check_attributes"]

NORMS = frozenset({"batch_norm", "instance_norm", "layer_norm"})
# Kinds of GELU in the file, and the operators of PyTorch that each may stand for.
KINDS = {
    "EXACT": ("gelu none", "erf"),
    "SIGMOID_APPROXIMATION": ("sigmoid",),
    "TANH_APPROXIMATION": ("gelu tanh", "tanh"),
}


def check_attributes(package: Path, graph: fx.GraphModule) -> None:
    """Raise `GateFailed` if the package has an epsilon or a kind of GELU that `graph` has not."""
    numbers, operators = set(_numbers(graph)), set(_operators(graph))
    wrong = [
        said
        for function in Program(package).functions.values()
        for step in _steps(function.code.steps)
        if (said := _wrong(step, function.code, numbers, operators))
    ]
    if wrong:
        raise GateFailed(
            f"The Core ML program has what the PyTorch program has not: {'; '.join(wrong[:8])}.",
            expected="Epsilons of norms and kinds of GELU are those of the captured program.",
            remedy="Leave Core ML out, or report the operator named above to coremltools.",
        )


def _wrong(step: Step, code: FunctionCode, numbers: set[float], operators: set[str]) -> str:
    name = step.operation.name
    if name in NORMS and (epsilon := _constant(step, code, "epsilon")) is not None:
        value = float(np.float32(epsilon.item()))
        return "" if value in numbers else f"{step.label} epsilon {value:g}"
    if name == "gelu":
        kind = str(_constant(step, code, "mode") or "EXACT").upper()
        return "" if operators.intersection(KINDS.get(kind, ())) else f"{step.label} mode {kind}"
    return ""


def _constant(step: Step, code: FunctionCode, name: str) -> Any:
    key = step.bindings.get(name)
    return code.constants.get(key) if isinstance(key, str) else None


def _steps(steps: list[Step] | tuple[Step, ...]) -> Iterator[Step]:
    for step in steps:
        yield step
        for block in step.blocks:
            yield from _steps(block.steps)


def _numbers(graph: fx.GraphModule) -> Iterator[float]:
    """Every float the calls are given, and every constant of one element, as float32."""
    for node in graph.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        left_out = schema.arguments[len(node.args) :] if schema else ()
        defaults = [a.default_value for a in left_out if a.name not in node.kwargs]
        for number in (*node.args, *node.kwargs.values(), *defaults):
            if isinstance(number, float):
                yield float(np.float32(number))
    for tensor in (*graph.parameters(), *graph.buffers()):
        if tensor.numel() == 1 and tensor.is_floating_point():
            yield float(tensor.to(torch.float32).item())


def _operators(graph: fx.GraphModule) -> Iterator[str]:
    """Names of the operators called; of GELU with what it is approximated by."""
    for node in graph.graph.nodes:
        if node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload):
            name = node.target.overloadpacket.__name__.rstrip("_")
            approximate = node.kwargs.get("approximate", "none")
            yield f"gelu {approximate}" if name == "gelu" else name

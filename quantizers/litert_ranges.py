"""Activation ranges of a float `.tflite`, measured by its own interpreter on real inputs.

Some integer kernels have their output's scale built in (softmax and logistic 1/256, tanh 1/128:
https://ai.google.dev/edge/litert/models/quantization_spec). Softmax over many places gives values
of which that leaves one bit or none, as in attention. Where it leaves little, and a scale of the
values' own would leave more, the operator is named, to be left in float.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantizers import litert_file
from quantizers.plan import Range
from quantizers.ranges import Histogram, Numbers, estimate, range_error

__all__ = ["Measured", "measure", "scope"]

Samples = Mapping[str, Sequence[Mapping[str, Numbers]]]

_SAME_VALUES = ("RESHAPE", "TRANSPOSE")
_BUILT_IN = {
    "LOGISTIC": (0.0, 255 / 256), "SOFTMAX": (0.0, 255 / 256), "TANH": (-1.0, 127 / 128),
}  # fmt: skip
_POOR = 1e-3  # of the mean square is error: less than 30 dB, when 8 bits usually leave 40
_WORSE = 4.0  # times the mean squared error: a bit of precision lost


@dataclass(frozen=True)
class Measured:
    """`ranges` by tensor name, as the quantizer takes them, and `coarse`: scopes of operators whose
    built-in output scale is too coarse for their values."""

    ranges: dict[str, dict[str, Numbers]]
    coarse: frozenset[str]


def measure(source: bytes, samples: Samples, method: str, bits: int) -> Measured:
    """Run every entry on its samples, once, and estimate each tensor's range.

    Integers of 16 bits have room enough for everything that was seen.
    """
    model = litert_file.open_model(source)
    seen: dict[str, Histogram] = {}
    ranks: dict[str, int] = {}
    for name, values in _runs(model, source, samples):
        ranks[name] = values.ndim
        seen.setdefault(name, Histogram()).add(values)
    how = "minmax" if bits > 8 else method
    found = {n: estimate(h, how, bits=bits, symmetric=bits > 8) for n, h in seen.items()}
    coarse = _coarse(model, seen, found) if bits == 8 else frozenset()
    for graph in model.subgraphs:
        for copy, origin in _rearranged(model, graph):
            if origin in found:
                found[copy.name.decode()] = found[origin]
                ranks[copy.name.decode()] = len(copy.shape)
    # as many axes of one as the tensor has axes
    ranges = {
        name: {end: np.full((1,) * ranks[name], value) for end, value in _ends(one).items()}
        for name, one in found.items()
    }
    return Measured(ranges, coarse)


def scope(graph: Any, op: Any) -> str:
    """What the quantizer matches its rules with: the names of the operator's outputs."""
    return "".join(graph.tensors[int(i)].name.decode() + ";" for i in op.outputs)


def _ends(one: Range) -> dict[str, float]:
    return {"min": one.low, "max": one.high}


def _runs(model: Any, data: bytes, samples: Samples) -> Iterator[tuple[str, Numbers]]:
    """(name, values) of every float tensor that is made, for every sample of every entry."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    runtime = Interpreter(
        model_content=data,
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    graphs = {s.signatureKey.decode(): s.subgraphIndex for s in model.signatureDefs or []}
    for entry, inputs in samples.items():
        runner = runtime.get_signature_runner(entry)
        graph = model.subgraphs[graphs[entry]]
        copies = {copy.name.decode() for copy, _ in _rearranged(model, graph)}
        made = [t for t in _activations(model, data, graph) if t[1] not in copies]
        for sample in inputs:
            runner(**sample)
            for number, name in made:
                yield name, runtime.get_tensor(number, graphs[entry])


def _activations(model: Any, data: bytes, graph: Any) -> Iterator[tuple[int, str]]:
    """(number, name) of the float tensors that are made at run time."""
    used = {int(i) for op in graph.operators for i in (*op.inputs, *op.outputs) if i >= 0}
    for number in sorted(used | {int(i) for i in graph.inputs}):
        tensor = graph.tensors[number]
        if _made(model, data, tensor):
            yield number, tensor.name.decode()


def _made(model: Any, data: bytes, tensor: Any) -> bool:
    constant = litert_file.constant_bytes(data, model.buffers[tensor.buffer])
    return not constant and litert_file.dtype_name(tensor) == "FLOAT32"


def _rearranged(model: Any, graph: Any) -> Iterator[tuple[Any, str]]:
    """(tensor, name of the one that has the same values in another order), in the graph's order."""
    origins: dict[int, int] = {}
    for op in graph.operators:
        tensor = graph.tensors[int(op.outputs[0])] if len(op.outputs) else None
        if litert_file.operator_name(model, op) in _SAME_VALUES and tensor is not None:
            first = int(op.inputs[0])
            origin = origins[int(op.outputs[0])] = origins.get(first, first)
            yield tensor, graph.tensors[origin].name.decode()


def _coarse(
    model: Any, seen: Mapping[str, Histogram], found: Mapping[str, Range]
) -> frozenset[str]:
    scopes = set()
    for graph in model.subgraphs:
        for op in graph.operators:
            built_in = _BUILT_IN.get(litert_file.operator_name(model, op))
            name = graph.tensors[int(op.outputs[0])].name.decode() if len(op.outputs) else ""
            if built_in is None or name not in seen or found[name].low == found[name].high:
                continue
            own = range_error(seen[name], (found[name].low, found[name].high), 8)
            lost = range_error(seen[name], built_in, 8)
            if lost > _WORSE * own and lost > _POOR * seen[name].mean_square:
                scopes.add(scope(graph, op))
    return frozenset(scopes)

"""Activation ranges of a float `.tflite`, measured by its own interpreter on real inputs.

With ranges of a plan, only what a plan cannot know is measured; what it leaves float stays float.

Some integer kernels have their output's scale built in (softmax and logistic 1/256, tanh 1/128:
https://ai.google.dev/edge/litert/models/quantization_spec). Softmax over many places gives values
of which that leaves one bit or none, as in attention. Where it leaves little, and a scale of the
values' own would leave more, the operator is named, to be left in float. So is one that reads or
gives a value without a range, such as attention scores that hold a mask: a range that reaches the
mask has no steps left for the scores.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantizers import litert_file
from quantizers.activation_ranges import MASK
from quantizers.plan import Range
from quantizers.ranges import Histogram, Numbers, estimate, range_error

__all__ = ["Measured", "Samples", "measure", "runs", "scope"]

_Ends = tuple[float, float]
Samples = Mapping[str, Sequence[Mapping[str, Numbers]]]

_SAME_VALUES = ("RESHAPE", "TRANSPOSE")
_BUILT_IN = {
    "LOGISTIC": (0.0, 255 / 256), "SOFTMAX": (0.0, 255 / 256), "TANH": (-1.0, 127 / 128),
}  # fmt: skip
_POOR = 1e-3  # of the mean square is error: less than 30 dB, when 8 bits usually leave 40
_WORSE = 4.0  # times the mean squared error: a bit of precision lost


@dataclass(frozen=True)
class Measured:
    """`ranges` by tensor name, as the quantizer takes them, `floats`: scopes of operators that stay
    float, and how many `tensors` were measured, not those whose range was given."""

    ranges: dict[str, dict[str, Numbers]]
    floats: frozenset[str]
    tensors: int


def measure(
    source: bytes,
    samples: Samples,
    *,
    method: str = "mse",
    bits: int = 8,
    given: Mapping[str, Range] | None = None,
    layers: Collection[str] = (),
) -> Measured:
    """Run every entry on its samples, once, and estimate each tensor's range.

    With ranges `given` by tensor name, only tensors of `layers` that have none are measured, and
    others without one stay float. Integers of 16 bits have room enough for everything that was
    seen.
    """
    model = litert_file.open_model(source)
    named = {t.name.decode(): t for _, t in litert_file.tensors(model) if _made(model, source, t)}
    known, judged = dict(given or {}), _built_in(model) if bits == 8 else {}
    asked = set(named) if given is None else {n for n in layers if n in named and n not in known}
    seen = _histograms(model, source, samples, asked | (judged.keys() & known.keys()))
    masked = {name for name, one in seen.items() if one.low <= MASK}
    how = "minmax" if bits > 8 else method
    found = known | {
        name: estimate(seen[name], how, bits=bits, symmetric=bits > 8)
        for name in (asked & seen.keys()) - masked
    }
    for graph in model.subgraphs:
        for copy, origin in _rearranged(model, graph):
            found |= {copy.name.decode(): found[origin]} if origin in found else {}
            masked |= {copy.name.decode()} if origin in masked else set()
    lacking = masked if given is None else named.keys() - found.keys()
    floats = set(_touching(model, lacking))
    floats |= {
        place
        for name, (place, built_in) in judged.items()
        if name in seen and name in found and _coarse(seen[name], found[name], built_in)
    }
    # as many axes of one as the tensor has axes
    ranges = {
        name: {end: np.full((1,) * len(named[name].shape), v) for end, v in _ends(one).items()}
        for name, one in found.items()
    }
    return Measured(ranges, frozenset(floats), len(asked & seen.keys()))


def _histograms(
    model: Any, data: bytes, samples: Samples, names: Collection[str]
) -> dict[str, Histogram]:
    seen: dict[str, Histogram] = {}
    for name, values in runs(model, data, samples) if names else ():
        if name in names:
            seen.setdefault(name, Histogram()).add(values)
    return seen


def scope(graph: Any, op: Any) -> str:
    """What the quantizer matches its rules with: the names of the operator's outputs."""
    return "".join(graph.tensors[int(i)].name.decode() + ";" for i in op.outputs)


def _ends(one: Range) -> dict[str, float]:
    return {"min": one.low, "max": one.high}


def runs(model: Any, data: bytes, samples: Samples) -> Iterator[tuple[str, Numbers]]:
    """(name, values) of every float tensor that is made, for every sample of every entry; not of
    those that are another in another order."""
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


def _built_in(model: Any) -> dict[str, tuple[str, _Ends]]:
    """Name of a result whose scale the kernel has -> scope of the operator, and its ends."""
    return {
        graph.tensors[int(op.outputs[0])].name.decode(): (scope(graph, op), _BUILT_IN[kind])
        for graph in model.subgraphs
        for op in graph.operators
        if (kind := litert_file.operator_name(model, op)) in _BUILT_IN
    }


def _coarse(seen: Histogram, own: Range, built_in: _Ends) -> bool:
    """Would a scale of its own leave the value much more than the built-in one does?"""
    if seen.empty or own.low == own.high:
        return False
    lost = range_error(seen, built_in, 8)
    return lost > _WORSE * range_error(seen, (own.low, own.high), 8) and (
        lost > _POOR * seen.mean_square
    )


def _touching(model: Any, names: Collection[str]) -> Iterator[str]:
    """Scopes of the operators that read or give one of these tensors."""
    for graph in model.subgraphs:
        for op in graph.operators:
            ends = (graph.tensors[int(i)] for i in (*op.inputs, *op.outputs) if i >= 0)
            if any(tensor.name.decode() in names for tensor in ends):
                yield scope(graph, op)

"""A source captured, cut and saved: what converters, reference and tail are made from."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import fx
from torch.export import ExportedProgram

from exporters.batching import batch_first, batched_twin
from exporters.capture import (
    capture,
    capture_sized,
    flat_graph,
    input_specs,
    narrowed,
    output_specs,
)
from exporters.digests import graph_digest, key
from exporters.dynamic import dimensions, parse_ranges, resized, traced_sizes
from exporters.entries import RANGES
from exporters.graphfile import TailProgram
from exporters.parity import continues, reference
from exporters.source import SourceModel
from exporters.splitting import CutPoint, choose_cuts, cut_points, find_cut
from headtail.errors import SourceFault
from headtail.manifest import FORWARD, Entry, SizeRange, head_entry
from headtail.postprocess import classes_in, task_of
from headtail.strictjson import to_json
from headtail.tensors import TensorSpec

__all__ = ["Captured", "capture_source", "labelled", "tail_of"]

# Kernels follow strides: behind a permutation the model computes in another order than a tail,
# whose inputs came over a wire and are contiguous.
_INEXACT = "no cut after {}: its tail gives the model's answer but for rounding, not bit for bit"


@dataclass(frozen=True)
class Captured:
    """The flat graph, where it is cut, and the saved program (`.pt2`) that converters read.

    `graph` has the sizes of the example inputs; the program takes all of `ranges`.
    """

    graph: fx.GraphModule
    cuts: tuple[CutPoint, ...]
    program: Path
    ranges: tuple[SizeRange, ...] = ()

    @property
    def digest(self) -> str:
        """Stands for the program in the keys of the cache."""
        return key(graph_digest(self.graph), list(self.ranges))

    @property
    def heads(self) -> dict[str, tuple[str, ...]]:
        """Entry point of every head -> names of the values it returns."""
        return {head_entry(c.id): tuple(spec.name for spec in c.tensors) for c in self.cuts}

    @property
    def entries(self) -> tuple[Entry, ...]:
        """`forward` and the heads, with what they take and give."""
        inputs = input_specs(self.graph)
        heads = (Entry(head_entry(cut.id), inputs, cut.tensors) for cut in self.cuts)
        return (Entry(FORWARD, inputs, output_specs(self.graph), self.ranges), *heads)


def capture_source(
    source: SourceModel,
    folder: Path,
    *,
    cuts: Sequence[str] = (),
    split: bool = True,
    dynamic: Sequence[str] = (),
) -> tuple[Captured, list[str]]:
    """Capture the model, choose its cuts and save the program to `folder`; remarks beside it.

    `cuts` are ids or node names, or empty for the three best; none at all if not `split`. A model
    whose program no tail may hold is not cut, and a remark says why; nor is one with `dynamic`
    sizes (`exporters.dynamic` has how they are written), since a tail takes one.
    """
    program = capture(source.module, source.example)
    graph = flat_graph(program)
    _check_labels(source, output_specs(graph))
    ranges = parse_ranges(dynamic, input_specs(graph))
    path = folder / f"{FORWARD}.pt2"
    chosen: Sequence[CutPoint] = ()
    if ranges:
        program = _sized(source, ranges, [spec.name for spec in input_specs(graph)])
        remarks = [f"the model is not split: it takes {', '.join(map(str, ranges))}"]
    else:
        chosen, remarks = _cuts(graph, source, cuts) if split else ((), [])
    held = json.dumps([to_json(found) for found in ranges])
    torch.export.save(program, path, extra_files={RANGES: held})
    return Captured(graph, tuple(chosen), path, ranges), remarks


def _sized(
    source: SourceModel, ranges: Sequence[SizeRange], names: Sequence[str]
) -> ExportedProgram:
    """The model for all sizes of `ranges`, traced at sizes that torch does not take for fixed."""
    shapes = dimensions(ranges, names)
    assert shapes is not None  # there are ranges
    example = resized(source.example, names, traced_sizes(ranges, source.example, names))
    try:
        return capture_sized(source.module, example, shapes)
    except SourceFault as fault:
        raise SourceFault(
            f"The model does not take {', '.join(map(str, ranges))}: {fault.what}",
            expected="Every size of a range goes through forward().",
            remedy="Narrow the range, give it a step (x:2=64..256/32), or tie axes that must be "
            "equal with +.",
        ) from fault


def _cuts(
    graph: fx.GraphModule, source: SourceModel, names: Sequence[str]
) -> tuple[Sequence[CutPoint], list[str]]:
    try:
        tail = TailProgram.of(graph)
    except SourceFault as fault:
        if names:
            raise
        return (), [f"the model is not split: {fault.what}"]
    points = batch_first(cut_points(graph, source.example), None)
    if names:
        return list(dict.fromkeys(find_cut(points, name) for name in names)), []
    chosen = choose_cuts(points, input_elements=_sendable_elements(source.example))
    if not chosen:
        return (), [_why_whole(points)]
    arrays = [narrowed(value.detach().numpy()) for value in source.example]
    expected = reference(graph, [arrays], chosen)
    exact = [cut for cut in chosen if continues(tail, cut, expected)]
    return exact, [_INEXACT.format(cut.id) for cut in chosen if cut not in exact]


def _sendable_elements(example: Sequence[torch.Tensor]) -> float:
    """Number of values when the inputs themselves are sent: without limit if no codec takes one."""
    if any(not value.is_floating_point() for value in example):
        return math.inf
    return sum(value.numel() for value in example)


def _why_whole(points: Sequence[CutPoint]) -> str:
    """No cut is chosen unasked: what there is to ask for, or why there is none."""
    if not points:
        return "the model is not split: at no place do only float32 tensors cross, batch first"
    smallest = min(points, key=lambda point: point.elements)
    return (
        "the model is not split: no module ends where fewer values cross than the input has "
        f"(the fewest, {smallest.elements}, after {smallest.id}: --cut takes it)"
    )


def tail_of(source: SourceModel, captured: Captured) -> tuple[TailProgram, list[str]]:
    """The program that the server enters at the cuts, for any batch if the model allows it.

    A symbolic batch takes much longer to capture than a fixed one, so this runs while the
    converters do.
    """
    twin = batched_twin(source.module, source.example, captured.graph)
    if twin is not None and len(batch_first(captured.cuts, twin)) == len(captured.cuts):
        return TailProgram.of(twin), []
    remark = "the tail takes one sample at a time: the model fixes its batch"
    return TailProgram.of(captured.graph, one_sample=True), [remark]


def labelled(source: SourceModel, outputs: Sequence[TensorSpec]) -> SourceModel:
    """The source, knowing what its labels name: boxes, pixels or, as it was, whole pictures."""
    task = task_of(outputs)
    named = task if task in ("detection", "segmentation") else ""
    return dataclasses.replace(source, labelled=named)


def _check_labels(source: SourceModel, outputs: Sequence[TensorSpec]) -> None:
    if not source.labels:
        return
    if labelled(source, outputs).labelled:
        layout = source.preprocess.layout if source.preprocess else "NCHW"
        wanted, where = classes_in(outputs, layout=layout), "the outputs tell apart"
    else:
        wanted, where = outputs[0].elements, f"the first output is {outputs[0]}, with"
    if wanted not in (None, len(source.labels)):
        raise SourceFault(
            f"There are {len(source.labels)} labels and {where} {wanted} classes.",
            expected="One label for each score of a classifier, or for each class of a detector's "
            "or segmenter's outputs.",
            remedy="Correct get_labels(), or leave it out.",
        )

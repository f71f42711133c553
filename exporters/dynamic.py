"""Files that take several sizes: what was asked for, as ranges, as torch's dimensions, as inputs.

    batch=1..8                  axis 0 of every input, 1 to 8
    x:2=160..320/32             axis 2 of the input x, multiples of 32
    ids:1+mask:1=8..64          two axes that are always of the same size

https://docs.pytorch.org/docs/stable/export.html#expressing-dynamism: one dimension per range.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import Dim
from torch.fx.passes.fake_tensor_prop import FakeTensorProp

from exporters.prepare import Applied, Prepared, Undone, rewrites_for
from exporters.prepare.preparation import apply_rewrites
from headtail.errors import UnknownName, UsageFault
from headtail.manifest import Place, SizeRange
from headtail.metrics import snr_db
from headtail.tensors import TensorSpec

__all__ = [
    "Sizes",
    "dimensions",
    "parse_ranges",
    "prepare_sized",
    "resized",
    "sizes_to_try",
    "traced_sizes",
]

Sizes = Mapping[tuple[str, int], int]  # (input, axis) -> size

_RANGE = re.compile(r"(?P<places>[^=]+)=(?P<low>\d+)\.\.(?P<high>\d+)(/(?P<step>[1-9]\d*))?")
_BATCH = "batch"
_EQUAL_DB = 90.0  # a rewrite that fixes a size is wrong by far more at another one


def parse_ranges(asked: Sequence[str], inputs: Sequence[TensorSpec]) -> tuple[SizeRange, ...]:
    """Ranges of sizes; raises `UsageFault` or `UnknownName` with what there is to choose from."""
    ranges = tuple(_parse(text, inputs) for text in asked)
    places = [place for found in ranges for place in found.places]
    for place in places:
        if places.count(place) > 1:
            raise _wrong(f"Axis {place.axis} of {place.input} has two ranges.", inputs)
    return ranges


def _parse(text: str, inputs: Sequence[TensorSpec]) -> SizeRange:
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        raise _wrong(f"The range {text!r} cannot be read.", inputs)
    low, high, step = int(match["low"]), int(match["high"]), int(match["step"] or 1)
    if match["places"] == _BATCH:
        places = tuple(Place(spec.name, 0) for spec in inputs)
    else:
        places = tuple(_place(part, inputs) for part in match["places"].split("+"))
    if low % step or high % step or not 0 < low < high:
        raise _wrong(
            f"The range {text!r} does not rise from one multiple of its step to another.", inputs
        )
    specs = {spec.name: spec for spec in inputs}
    for place in places:
        size = specs[place.input].shape[place.axis]
        if not low <= size <= high or size % step:
            raise _wrong(f"The example input has size {size}, which {text!r} leaves out.", inputs)
    return SizeRange(places, low, high, step)


def _place(text: str, inputs: Sequence[TensorSpec]) -> Place:
    name, _, axis = text.partition(":")
    by_name = {spec.name: spec for spec in inputs}
    if name not in by_name:
        raise UnknownName("input", name, [*by_name, _BATCH])
    if not axis.isdecimal() or int(axis) >= len(by_name[name].shape):
        raise _wrong(f"The input {name} has no axis {axis or '(none given)'!r}.", inputs)
    return Place(name, int(axis))


def _wrong(what: str, inputs: Sequence[TensorSpec]) -> UsageFault:
    return UsageFault(
        what,
        expected="Ranges are batch=LOW..HIGH or INPUT:AXIS=LOW..HIGH, with /STEP for multiples and "
        "+ between axes of the same size, around the example's own size. The inputs are "
        f"{', '.join(map(str, inputs))}.",
        remedy="Correct --dynamic, for example batch=1..8.",
    )


def dimensions(
    ranges: Sequence[SizeRange], names: Sequence[str]
) -> tuple[dict[int, Any], ...] | None:
    """`dynamic_shapes` of `torch.export` for inputs of these names; None if nothing is dynamic."""
    if not ranges:
        return None
    shapes: dict[str, dict[int, Any]] = {name: {} for name in names}
    for index, found in enumerate(ranges):
        unit = Dim(f"size_{index}", min=found.low // found.step, max=found.high // found.step)
        for place in found.places:
            shapes[place.input][place.axis] = unit if found.step == 1 else found.step * unit
    return tuple(shapes[name] for name in names)


def sizes_to_try(ranges: Sequence[SizeRange]) -> list[Sizes]:
    """All ranges at their low end, in the middle and at their high end."""
    ends: list[Sizes] = []
    for share in (0.0, 0.5, 1.0):
        sizes = {
            (place.input, place.axis): _between(found, share)
            for found in ranges
            for place in found.places
        }
        if sizes not in ends:
            ends.append(sizes)
    return ends


def traced_sizes(
    ranges: Sequence[SizeRange], example: Sequence[torch.Tensor], names: Sequence[str]
) -> Sizes:
    """The example's own sizes, or the next larger: `torch.export` takes one step for a constant."""
    shapes = dict(zip(names, (value.shape for value in example), strict=True))
    return {
        (place.input, place.axis): max(shapes[place.input][place.axis], 2 * found.step)
        for found in ranges
        for place in found.places
    }


def _between(found: SizeRange, share: float) -> int:
    steps = round((found.high - found.low) / found.step * share)
    return found.low + steps * found.step


def resized(
    inputs: Sequence[torch.Tensor], names: Sequence[str], sizes: Sizes
) -> tuple[torch.Tensor, ...]:
    """The inputs at other sizes: repeated along an axis that grows, cut along one that shrinks."""
    made = []
    for name, value in zip(names, inputs, strict=True):
        grown = value
        for axis in range(value.ndim):
            size = sizes.get((name, axis), grown.shape[axis])
            times = -(-size // grown.shape[axis])
            grown = torch.cat([grown] * times, axis).narrow(axis, 0, size)
        made.append(grown.contiguous())
    return tuple(made)


def prepare_sized(
    graph: fx.GraphModule, examples: Sequence[Sequence[torch.Tensor]], target: str
) -> Prepared:
    """As `prepare`, but a rewrite must hold for every one of `examples`, which differ in size.

    A rewrite sees the sizes of the first one and may write them into the graph; then it is taken
    back, since another size goes wrong.
    """
    current = graph = _at_one_size(graph, examples[0])
    applied: list[Applied] = []
    undone: list[Undone] = []
    for rewrite in rewrites_for(target):
        made = apply_rewrites(current, examples[0], [(rewrite.name, rewrite.function())])
        undone.extend(made.undone)
        if made.applied and _holds(graph, made.graph, examples[1:]):
            applied.extend(made.applied)
            current = made.graph
        elif made.applied:
            undone.append(Undone(rewrite.name, "its graph is for one size only"))
    return Prepared(current, tuple(applied), tuple(undone))


def _at_one_size(graph: fx.GraphModule, example: Sequence[torch.Tensor]) -> fx.GraphModule:
    """The graph with values of plain sizes: asking a symbolic size for its number would fix it."""
    made = fx.GraphModule(graph, copy.deepcopy(graph.graph)).eval()
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    FakeTensorProp(made, mode).propagate(*example)
    return made


def _holds(
    graph: fx.GraphModule, made: fx.GraphModule, examples: Sequence[Sequence[torch.Tensor]]
) -> bool:
    with torch.inference_mode():
        for example in examples:
            try:
                given = made(*example)
            except (RuntimeError, ValueError, IndexError):  # a size written into the graph
                return False
            for right, seen in zip(graph(*example), given, strict=True):
                if right.shape != seen.shape:
                    return False
                if snr_db(reference=right.numpy(), candidate=seen.numpy()) < _EQUAL_DB:
                    return False
    return True

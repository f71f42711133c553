"""A program divided at its cuts: segments that follow one another and share the program's weights.

    inputs --segment 0--> cut a --segment 1--> cut b --segment 2--> outputs

Entering at a cut means running every segment from there on. So a batch can take in samples at every
cut that it passes, every weight is held once however many cuts there are, and each segment can be
run by whatever runs it fastest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from companion_server.jobs import WHOLE
from headtail.errors import BundleMismatch, IntegrityFault
from headtail.tensors import TensorSpec

if TYPE_CHECKING:
    import torch

    from companion_server.tails.program import Program
    from headtail.manifest import Manifest

    Tensors = tuple[torch.Tensor, ...]

__all__ = ["Chain", "Runs", "Segment", "Stretch", "divide", "release"]

MOST_ENTRIES = 256  # each costs a module, and a few files of built code


@dataclass(frozen=True)
class Stretch:
    """From the tensors of `entry` (a cut or `WHOLE`) to those of the next entry, or the outputs."""

    entry: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class Runs(Protocol):
    """Runs one stretch: a torch module, or something in its place."""

    def __call__(self, *values: torch.Tensor) -> Tensors:
        """Batch first, any batch size."""
        ...


@dataclass
class Segment:
    """A stretch and what runs it at present: `backend` is its name."""

    stretch: Stretch
    runs: Runs
    backend: str


@dataclass(frozen=True)
class Chain:
    """All segments of a program, first to last."""

    segments: tuple[Segment, ...]

    @property
    def entries(self) -> tuple[str, ...]:
        """`WHOLE`, then the cuts in the order in which the program passes them."""
        return tuple(segment.stretch.entry for segment in self.segments)

    def run(self, start: int, values: Sequence[torch.Tensor]) -> Tensors:
        """From the tensors of entry number `start` to the outputs."""
        passed = tuple(values)
        for segment in self.segments[start:]:
            passed = segment.runs(*passed)
        return passed


def divide(manifest: Manifest, program: Program) -> Chain:
    """The chain of a bundle, run by torch eagerly.

    Raises `IntegrityFault` if its cuts do not lie one behind the other, as those of an exported
    graph do.
    """
    try:
        return Chain(tuple(_segments(manifest, program)))
    except BundleMismatch as error:
        raise _not_a_chain(manifest, error.what) from error


def _segments(manifest: Manifest, program: Program) -> Iterator[Segment]:
    cuts = [(cut.id, cut.tensors) for cut in manifest.cuts]
    named = {WHOLE, *(cut.id for cut in manifest.cuts)}
    if len(cuts) >= MOST_ENTRIES or len(named) <= len(cuts):
        raise _not_a_chain(manifest, f"There are {len(cuts)} of them, or two of one name.")
    cuts.sort(key=lambda cut: -program.calls_after(_names(cut[1])))
    entries = [(WHOLE, manifest.inputs), *cuts]
    for index, (entry, inputs) in enumerate(entries):
        last = index == len(entries) - 1
        outputs = manifest.outputs if last else entries[index + 1][1]
        module = program.enter(_names(inputs), until=None if last else _names(outputs))
        yield Segment(Stretch(entry, inputs, outputs), module, "eager")


def release(runs: Runs) -> None:
    """Let go of a module's weights at once: its graph refers to itself, so that they would stay
    until the collector comes by."""
    modules: Any = getattr(runs, "modules", tuple)
    for module in modules():
        module._buffers.clear()


def _names(specs: Sequence[TensorSpec]) -> list[str]:
    return [spec.name for spec in specs]


def _not_a_chain(manifest: Manifest, why: str) -> IntegrityFault:
    return IntegrityFault(
        f"The cuts of {manifest.name!r} do not follow one another. {why}",
        file=manifest.tails[0].program,
        expected="Whatever crosses a later cut can be computed from what crosses an earlier one; "
        f"there are fewer than {MOST_ENTRIES}, each with its own name.",
        remedy="Export the bundle again with this version of Headtail.",
    )

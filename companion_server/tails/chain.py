"""A program divided at its cuts: segments that follow one another and share the program's weights.

    inputs --segment 0--> cut a --segment 1--> cut b --segment 2--> outputs

Entering at a cut means running every segment from there on. So a batch can take in samples at every
cut that it passes, every weight is held once however many cuts there are, and each segment can be
run by whatever runs it fastest.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    cuts = [(cut.id, cut.tensors) for cut in manifest.cuts]
    cuts.sort(key=lambda cut: -program.calls_after(_names(cut[1])))
    entries = [(WHOLE, manifest.inputs), *cuts]
    segments = []
    for index, (entry, inputs) in enumerate(entries):
        last = index == len(entries) - 1
        outputs = manifest.outputs if last else entries[index + 1][1]
        module = _module(manifest, program, inputs, None if last else _names(outputs))
        segments.append(Segment(Stretch(entry, inputs, outputs), module, "eager"))
    return Chain(tuple(segments))


def release(runs: Runs) -> None:
    """Let go of a module's weights at once: its graph refers to itself, so that they would stay
    until the collector comes by."""
    modules: Any = getattr(runs, "modules", tuple)
    for module in modules():
        module._buffers.clear()


def _names(specs: Sequence[TensorSpec]) -> list[str]:
    return [spec.name for spec in specs]


def _module(
    manifest: Manifest,
    program: Program,
    inputs: Sequence[TensorSpec],
    until: Sequence[str] | None,
) -> Any:
    try:
        return program.enter(_names(inputs), until=until)
    except BundleMismatch as error:
        raise IntegrityFault(
            f"The cuts of {manifest.name!r} do not follow one another. {error.what}",
            file=manifest.tails[0].program,
            expected="Whatever crosses a later cut can be computed from what crosses an earlier.",
            remedy="Export the bundle again with this version of Headtail.",
        ) from error

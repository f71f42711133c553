"""Artifacts that take several sizes, run at the ends and in the middle of their ranges.

What is expected is what the unmodified module answers at that size, in PyTorch and without a
captured graph. The inputs are real ones: photos preprocessed to the other size where the source has
photos, several samples where it is the batch that grows, and otherwise samples repeated or cut.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils import _pytree as pytree

from exporters.capture import narrowed
from exporters.captured import Captured
from exporters.conversion import Failure
from exporters.dynamic import Sizes, resized, sizes_to_try
from exporters.packing import Proof
from exporters.parity import Reference, judge
from exporters.progress import Progress
from exporters.prove import Protocol, observe
from exporters.source import SourceModel
from headtail.errors import ConversionFailed, GateFailed
from headtail.manifest import Entry
from headtail.tensors import Array, TensorSpec

__all__ = ["prove_sizes"]

_SAMPLES = 4


@dataclass(frozen=True)
class _Trial:
    """One set of sizes: the entry point as it is then, inputs, and the right answers."""

    entry: Entry
    samples: list[tuple[Array, ...]]
    expected: Reference

    def __str__(self) -> str:
        return ", ".join(f"{spec.name}{list(spec.shape)}" for spec in self.entry.inputs)


def prove_sizes(
    proofs: Sequence[Proof],
    captured: Captured,
    source: SourceModel,
    *,
    folder: Path,
    progress: Progress,
) -> tuple[list[Proof], list[Failure], list[str]]:
    """Those of `proofs` that hold at all sizes tried, failures of the others, and a remark."""
    if not captured.ranges:
        return list(proofs), [], []
    trials = [_trial(captured, source, sizes) for sizes in sizes_to_try(captured.ranges)]
    kept: list[Proof] = []
    failures: list[Failure] = []
    for proof in proofs:
        kind = (proof.target.format, proof.conversion.precision)
        reason = _reason(proof, trials, folder)
        progress.note(f"{kind[0]} {kind[1]}, {len(trials)} other sizes: {reason or 'pass'}")
        if reason:
            failures.append(Failure(*kind, reason, ""))
        else:
            kept.append(proof)
    shown = "; ".join(map(str, trials))
    return kept, failures, [f"proven at the sizes {shown}"]


def _trial(captured: Captured, source: SourceModel, sizes: Sizes) -> _Trial:
    forward = captured.entries[0]
    samples = [_sample(source, forward.inputs, sizes, index) for index in range(_SAMPLES)]
    outputs = [_answer(source, sample) for sample in samples]
    return _Trial(
        Entry(
            forward.name,
            _shaped(forward.inputs, samples[0]),
            _shaped(forward.outputs, outputs[0]),
        ),
        samples,
        Reference(outputs, {}),
    )


def _shaped(specs: Sequence[TensorSpec], arrays: Sequence[Array]) -> tuple[TensorSpec, ...]:
    pairs = zip(specs, arrays, strict=True)
    return tuple(TensorSpec(spec.name, spec.dtype, tuple(a.shape)) for spec, a in pairs)


def _sample(
    source: SourceModel, inputs: Sequence[TensorSpec], sizes: Sizes, start: int
) -> tuple[Array, ...]:
    names = [spec.name for spec in inputs]
    rows = max((size for (_, axis), size in sizes.items() if axis == 0), default=1)
    one = {place: size for place, size in sizes.items() if place[1] != 0}
    count = len(source.evaluation.samples)
    made = []
    for index in range(start, start + rows):
        picture = _picture(source, names, one, index % count)
        given = [torch.from_numpy(np.array(a)) for a in source.evaluation.samples[index % count]]
        made.append(
            resized([torch.from_numpy(picture)] if picture is not None else given, names, one)
        )
    joined = [torch.cat(parts) for parts in zip(*made, strict=True)]
    grown = [
        value if (name, 0) in sizes else value[:1]
        for name, value in zip(names, joined, strict=True)
    ]
    return tuple(value.contiguous().numpy() for value in grown)


def _picture(source: SourceModel, names: Sequence[str], sizes: Sizes, index: int) -> Array | None:
    """A photo preprocessed to the asked height and width, if the model is fed with photos."""
    if not source.frames or source.preprocess is None or len(names) != 1:
        return None
    first = 2 if source.preprocess.layout == "NCHW" else 1
    sides = [sizes.get((names[0], first + i)) for i in range(2)]
    recipe = source.preprocess
    height, width = sides[0] or recipe.height, sides[1] or recipe.width
    return dataclasses.replace(recipe, height=height, width=width)(source.frames[index])


def _answer(source: SourceModel, sample: Sequence[Array]) -> list[Array]:
    wide = [
        torch.from_numpy(array).to(example.dtype)
        for array, example in zip(sample, source.example, strict=True)
    ]
    with torch.inference_mode():
        outputs = source.module(*wide)
    return [narrowed(np.array(leaf.numpy())) for leaf in pytree.tree_leaves(outputs)]


def _reason(proof: Proof, trials: Sequence[_Trial], folder: Path) -> str:
    """Why the artifact does not hold at one of the sizes; "" if it does at all."""
    conversion, aim = proof.conversion, proof.target
    for number, trial in enumerate(trials):
        try:
            seen = observe(
                conversion.path,
                (aim.format, conversion.recipe),
                (trial.entry,),
                trial.samples,
                folder=folder / "sizes" / f"{conversion.path.name}.{number}",
                protocol=Protocol(heads=0, warmup=0, runs=0),
            )
        except (ConversionFailed, GateFailed) as error:
            return f"at {trial}: {error.what}"
        given = seen.outputs
        judged = judge(aim, conversion.precision, trial.expected, given, classifies=False)
        if judged.verdict == "failed":
            return f"at {trial}: {judged.note}"
    return ""

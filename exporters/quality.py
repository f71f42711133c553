"""What a report says of every proven artifact beyond its row: figures with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from exporters.insight import Insight
from exporters.packing import Proof
from exporters.parity import Reference
from exporters.quantized import Quantized
from exporters.source import SourceModel
from headtail.manifest import FORWARD
from headtail.preprocess import Frame
from headtail.quality import Quality, Settings, assess, with_thumbnails

__all__ = ["quality_of"]

KEPT = 24  # pictures of changed answers of an artifact: about 5 kB each in the report


def quality_of(
    source: SourceModel,
    proofs: Sequence[Proof],
    expected: Reference,
    planned: Mapping[str, Quantized],
    insight: Insight | None = None,
) -> Quality:
    """Of the first output, which for a classifier are its scores; `insight` if it was asked for."""
    settings = Settings(classifies=source.task == "classification")
    truth = [outputs[0] for outputs in expected.outputs]
    picture = _pictures(source)
    reports = []
    for proof in proofs:
        own = planned.get(proof.conversion.precision)
        report = assess(
            truth,
            [outputs[0] for outputs in proof.seen.outputs[FORWARD]],
            kind=(proof.conversion.format, proof.conversion.precision),
            labels=source.eval_labels or None,
            groups=source.eval_slices or None,
            program_outputs=[outputs[0] for outputs in own.outputs] if own else None,
            settings=settings,
        )
        report = replace(report, audit=proof.seen.audit)
        reports.append(with_thumbnails(report, picture, limit=KEPT) if picture else report)
    insight = insight or Insight()
    return Quality(
        tuple(reports),
        noise=insight.noise,
        sensitivity=insight.sensitivity,
        equalization=tuple(one for own in planned.values() for one in own.evened),
        steps=_steps(planned),
        halves=next((own.halves for own in planned.values()), None),
    )


def _steps(planned: Mapping[str, Quantized]) -> tuple[str, ...]:
    """What was done for all precisions, and for each."""
    every = {name: own.plan.steps for name, own in planned.items()}
    said: dict[str, None] = {}
    for name, steps in every.items():
        for step in steps:
            common = all(step in others for others in every.values())
            said[step if common else f"{name}: {step}"] = None
    return tuple(said)


def _pictures(source: SourceModel) -> Callable[[int], Frame] | None:
    """Evaluation inputs as the model sees them; None if they are no pictures.

    Photos through the window that preprocessing takes; other inputs are pictures if the only one is
    (1, 1 or 3, height, width): the set's lowest value is black, its highest white.
    """
    preprocess, frames = source.preprocess, source.frames
    if frames and preprocess is not None:
        return lambda index: preprocess.view(frames[index])
    samples = [sample[0] for sample in source.evaluation.samples]
    if len(source.evaluation.samples[0]) != 1 or samples[0].ndim != 4:
        return None
    if samples[0].shape[1] not in (1, 3) or samples[0].dtype.kind != "f":
        return None
    low, high = min(float(s.min()) for s in samples), max(float(s.max()) for s in samples)

    def picture(index: int) -> Frame:
        bytes_ = np.rint((samples[index][0] - low) * (255 / ((high - low) or 1.0)))
        channels = np.broadcast_to(bytes_, (3, *bytes_.shape[1:])).astype(np.uint8)
        return np.ascontiguousarray(channels.transpose(1, 2, 0))

    return picture

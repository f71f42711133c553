"""What a report says of every proven artifact beyond its row: figures with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from exporters.packing import Proof
from exporters.parity import Reference
from exporters.quantized import Quantized
from exporters.source import SourceModel
from headtail.manifest import FORWARD
from headtail.quality import Quality, Settings, assess

__all__ = ["quality_of"]


def quality_of(
    source: SourceModel,
    proofs: Sequence[Proof],
    expected: Reference,
    planned: Mapping[str, Quantized],
) -> Quality:
    """Of the first output, which for a classifier are its scores."""
    settings = Settings(classifies=source.task == "classification")
    truth = [outputs[0] for outputs in expected.outputs]
    reports = []
    for proof in proofs:
        own = planned.get(proof.conversion.precision)
        reports.append(
            assess(
                truth,
                [outputs[0] for outputs in proof.seen.outputs[FORWARD]],
                kind=(proof.conversion.format, proof.conversion.precision),
                labels=source.eval_labels or None,
                groups=source.eval_slices or None,
                program_outputs=[outputs[0] for outputs in own.outputs] if own else None,
                settings=settings,
            )
        )
    steps = next((own.plan.steps for own in planned.values()), ())
    return Quality(tuple(reports), steps=steps)

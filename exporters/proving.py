"""Every converted file re-read by its runtime and judged; those that hold become proofs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from exporters.conversion import Conversion, Failure
from exporters.packing import Proof
from exporters.parity import Reference, judge
from exporters.progress import Progress
from exporters.prove import Protocol, observe, size_of
from exporters.source import SourceModel
from exporters.sources.savedmodel import ForeignModel
from exporters.target import target
from headtail.errors import ConversionFailed
from headtail.manifest import Entry

__all__ = ["prove_all"]


def prove_all(  # noqa: PLR0913  # what an artifact is held against, none of it optional
    done: Sequence[Conversion],
    entries: tuple[Entry, ...],
    source: SourceModel | ForeignModel,
    expected: Reference,
    *,
    protocol: Protocol,
    folder: Path,
    progress: Progress,
) -> tuple[list[Proof], list[Failure]]:
    """The artifacts that hold, and the failures of the others, one process after the other."""
    proofs: list[Proof] = []
    failures: list[Failure] = []
    for conversion in done:
        proof = _prove(conversion, entries, source, expected, protocol, folder)
        told = proof.reason if isinstance(proof, Failure) else proof.judgement.verdict
        progress.note(f"{conversion.format} {conversion.precision}: {told}")
        if isinstance(proof, Failure):
            failures.append(proof)
        else:
            proofs.append(proof)
    return proofs, failures


def _prove(
    conversion: Conversion,
    entries: tuple[Entry, ...],
    source: SourceModel | ForeignModel,
    expected: Reference,
    protocol: Protocol,
    folder: Path,
) -> Proof | Failure:
    aim, kind = target(conversion.format), (conversion.format, conversion.precision)
    try:
        seen = observe(
            conversion.path,
            kind,
            entries,
            source.evaluation.samples,
            folder=folder / conversion.path.name,
            protocol=protocol,
        )
    except ConversionFailed as error:
        return Failure(*kind, error.what, error.log)
    classifies = source.task == "classification"
    judgement = judge(aim, conversion.precision, expected, seen.outputs, classifies=classifies)
    if judgement.verdict == "failed":
        return Failure(*kind, judgement.note, "")
    return Proof(conversion, entries, size_of(conversion.path), aim, judgement, seen)

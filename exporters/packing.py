"""Proven artifacts, tail, golden vectors and measured cuts into one bundle."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from exporters.conversion import Conversion
from exporters.graphfile import TailProgram
from exporters.parity import Judgement, Reference, continues
from exporters.prove import Observation
from exporters.rows import artifact_row
from exporters.source import SourceModel
from exporters.sources.savedmodel import ForeignModel
from exporters.target import Target
from exporters.versions import tool_versions
from headtail import tensorfile
from headtail.bundle import Bundle, BundleWriter
from headtail.errors import SourceFault
from headtail.manifest import (
    FORWARD,
    SCHEMA_VERSION,
    Agreement,
    Artifact,
    Cut,
    Entry,
    Manifest,
    SampleSet,
    Tail,
)
from headtail.report import ArtifactRow
from headtail.strictjson import to_json
from headtail.tensors import Array

__all__ = ["Proof", "pack"]

GOLDEN = "golden.safetensors"
_TAIL_FILES = ("tail/program.json", "tail/weights.safetensors")
_RUNTIME_NAMES = {"coreml": "MIL reference interpreter, not Apple hardware"}


@dataclass(frozen=True)
class Proof:
    """An artifact that was re-read, run and judged, with all that was seen of it.

    `splits`: what its heads lead to, by cut and codec.
    """

    conversion: Conversion
    entries: tuple[Entry, ...]
    bytes: int
    target: Target
    judgement: Judgement
    seen: Observation
    splits: dict[str, dict[str, Agreement]] = field(default_factory=dict)

    @property
    def runtime(self) -> str:
        """Name and version of what ran it."""
        known = _RUNTIME_NAMES.get(self.target.format)
        return known or f"{self.target.format} {self.seen.version}"

    def artifact(self, calibration: SampleSet | None) -> Artifact:
        """Its entry in the manifest; `calibration` is what those that need it were fitted to."""
        recipe = self.conversion.recipe
        fitted = recipe.quantizes or recipe.needs_calibration
        return Artifact(
            path=f"artifacts/{self.conversion.path.name}",
            format=self.target.format,
            precision=self.conversion.precision,
            bytes=self.bytes,
            entries=self.entries,
            runtime=self.runtime,
            minimum_runtime=self.target.minimum_runtime,
            agreement=self.judgement.agreement,
            verdict=self.judgement.verdict,
            dtypes=self.seen.dtypes,
            rewrites=dict(self.conversion.rewrites),
            coverage=self.conversion.coverage,
            calibration=calibration if fitted else None,
            splits=self.splits,
        )

    def row(self) -> ArtifactRow:
        """Its line in every table."""
        return artifact_row(
            (self.target.format, self.conversion.precision),
            bytes=self.bytes,
            runtime=self.runtime,
            agreement=self.judgement.agreement,
            timing=self.seen.timings.get(FORWARD, {}),
            verdict=self.judgement.verdict,
            note=self.judgement.note,
        )


def pack(  # noqa: PLR0913  # everything a bundle is made of
    source: SourceModel | ForeignModel,
    proofs: Sequence[Proof],
    *,
    destination: Path,
    force: bool,
    forward: Entry,
    tail: TailProgram | None,
    cuts: Sequence[Cut],
    expected: Reference,
    golden_samples: int,
) -> Bundle:
    """Write and publish the bundle: all of it appears at the destination, or nothing."""
    with BundleWriter(destination, force=force) as writer:
        for proof in proofs:
            writer.add(f"artifacts/{proof.conversion.path.name}", proof.conversion.path)
        if tail is not None:
            _add_tail(writer, tail, cuts, expected)
        golden = _golden(source, forward, cuts, expected, golden_samples)
        writer.add(GOLDEN, tensorfile.dump(golden))
        calibration = source.calibration.provenance if source.calibration else None
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            bundle_id="",
            name=source.name,
            source=source.origin,
            task=source.task,
            labels=source.labels,
            preprocess=source.preprocess,
            inputs=forward.inputs,
            outputs=forward.outputs,
            artifacts=tuple(proof.artifact(calibration) for proof in proofs),
            cuts=tuple(cuts),
            tails=(Tail(*_TAIL_FILES),) if tail is not None else (),
            golden=GOLDEN,
            calibration=calibration,
            evaluation=source.evaluation.provenance,
            tool_versions=tool_versions(),
            recipes={p.conversion.precision: to_json(p.conversion.recipe) for p in proofs},
            files={},
        )
        return writer.publish(manifest)


def _add_tail(
    writer: BundleWriter, tail: TailProgram, cuts: Sequence[Cut], expected: Reference
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        program, weights = (Path(temporary) / Path(name).name for name in _TAIL_FILES)
        tail.write(program, weights)
        _check_tail(TailProgram.read(program, weights), cuts, expected)
        for name, path in zip(_TAIL_FILES, (program, weights), strict=True):
            writer.add(name, path)


def _check_tail(program: TailProgram, cuts: Sequence[Cut], expected: Reference) -> None:
    """The tail that was just read back must continue the first sample of every cut exactly."""
    for cut in cuts:
        if not continues(program, cut, expected):
            raise SourceFault(
                f"The tail after {cut.id} does not continue the head bit for bit.",
                expected="Head followed by tail equals the unsplit model.",
                remedy="Choose other cuts with --cut, or --no-split; report the model.",
            )


def _golden(
    source: SourceModel | ForeignModel,
    forward: Entry,
    cuts: Sequence[Cut],
    expected: Reference,
    count: int,
) -> dict[str, Array]:
    names = [spec.name for spec in forward.inputs]
    results = [spec.name for spec in forward.outputs]
    golden: dict[str, Array] = {}
    for index, sample in enumerate(source.evaluation.samples[:count]):
        if source.frames:
            golden[f"frame.{index}"] = source.frames[index]
        golden |= {f"input.{index}.{n}": a for n, a in zip(names, sample, strict=True)}
        outputs = zip(results, expected.outputs[index], strict=True)
        golden |= {f"output.{index}.{n}": a for n, a in outputs}
        for cut in cuts:
            arrays = zip(cut.tensors, expected.cuts[cut.id][index], strict=True)
            golden |= {f"cut.{cut.id}.{index}.{spec.name}": a for spec, a in arrays}
    return golden

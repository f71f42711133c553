"""A bundle checked again, anywhere: every byte, then every artifact against the golden vectors.

The export judged each artifact on its whole evaluation set; the golden vectors are the first few of
those inputs, with the fp32 model's answers. So an artifact verifies if, on them, fp32 reaches its
gate and any other precision is no worse than what its manifest recorded, but for what another CPU's
kernels may round differently (`KERNEL_TOLERANCE_DB`). Core ML files are compared with the float32
one of the same bundle, as the export did.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from exporters.parity import Reference, judge
from exporters.progress import Progress, Quiet, StageClock
from exporters.prove import Observation, Protocol, observe
from exporters.proving import EXACT
from exporters.rows import artifact_row
from exporters.target import target
from headtail.bundle import Bundle
from headtail.errors import HeadtailError, SchemaFault
from headtail.manifest import FORWARD, Agreement, Artifact, head_entry
from headtail.report import ArtifactRow
from headtail.strictjson import from_json
from headtail.tensors import Array
from quantizers.recipe import Recipe

__all__ = ["Verification", "golden_inputs", "golden_reference", "recipe_of", "verify_artifacts"]

KERNEL_TOLERANCE_DB = 1.0


@dataclass(frozen=True)
class Verification:
    """One row per artifact, the failures among them, and the seconds it took."""

    rows: tuple[ArtifactRow, ...]
    timings: dict[str, dict[str, dict[str, object]]]
    seconds: dict[str, float]

    @property
    def good(self) -> bool:
        """Did every artifact verify?"""
        return all(row.verdict != "failed" for row in self.rows)


def golden_inputs(bundle: Bundle) -> list[list[Array]]:
    """`[sample][input]`, in the manifest's order."""
    golden = _Golden(bundle.golden())
    names = [spec.name for spec in bundle.manifest.inputs]
    return [[golden[f"input.{i}.{name}"] for name in names] for i in range(_count(golden))]


def golden_reference(bundle: Bundle) -> Reference:
    """What the fp32 PyTorch model answered to the golden inputs, outputs and boundary tensors."""
    golden, manifest = _Golden(bundle.golden()), bundle.manifest
    indices = range(_count(golden))
    outputs = [[golden[f"output.{i}.{s.name}"] for s in manifest.outputs] for i in indices]
    cuts = {
        cut.id: [[golden[f"cut.{cut.id}.{i}.{s.name}"] for s in cut.tensors] for i in indices]
        for cut in manifest.cuts
    }
    return Reference(outputs, cuts)


class _Golden(dict[str, Array]):
    """Golden vectors by key; one that is missing is the bundle's fault."""

    def __missing__(self, key: str) -> Array:
        raise SchemaFault(
            f"There is no golden vector {key!r}", "golden", remedy="Export the bundle again."
        )


def _count(golden: dict[str, Array]) -> int:
    found = {int(m[1]) for key in golden if (m := re.match(r"input\.(\d+)\.", key))}
    if found != set(range(len(found))) or not found:
        raise SchemaFault(
            "The golden inputs are not numbered from 0", "golden", remedy="Export the bundle again."
        )
    return len(found)


def verify_artifacts(
    bundle: Bundle,
    *,
    artifacts: Sequence[Artifact] | None = None,
    warmup: int = 3,
    runs: int = 20,
    threads: int = 1,
    progress: Progress | None = None,
) -> Verification:
    """Run `artifacts` (default all) on the golden inputs, judge and time them."""
    clock = StageClock(progress or Quiet())
    samples, expected = golden_inputs(bundle), golden_reference(bundle)
    protocol = Protocol(len(samples), warmup, runs, threads)
    rows, timings = [], {}
    with tempfile.TemporaryDirectory(prefix="headtail-") as temporary:
        for artifact in artifacts if artifacts is not None else bundle.manifest.artifacts:
            key = f"{artifact.format}.{artifact.precision}"
            with clock.stage(f"verify {key}"):
                try:
                    artifact.entry(FORWARD)
                    seen = observe(
                        bundle.artifact_path(artifact),
                        (artifact.format, recipe_of(bundle, artifact)),
                        artifact.entries,
                        samples,
                        folder=Path(temporary) / key,
                        protocol=replace(protocol, exact=_exact(bundle, artifact)),
                    )
                except HeadtailError as error:
                    rows.append(_row(artifact, None, None, ("failed", error.what)))
                    continue
                rows.append(_judged(bundle, artifact, expected, seen))
                timings[key] = seen.timings
    return Verification(tuple(rows), timings, clock.seconds)


def recipe_of(bundle: Bundle, artifact: Artifact) -> Recipe:
    """What the artifact's precision stands for; `SchemaFault` if the manifest does not say."""
    path = f"$.recipes.{artifact.precision}"
    found = bundle.manifest.recipes.get(artifact.precision)
    if found is None:
        raise SchemaFault(
            "There is no recipe of this name", path, remedy="Export the bundle again."
        )
    return from_json(Recipe, found, path=path)


def _exact(bundle: Bundle, artifact: Artifact) -> Path | None:
    """The float32 file that a Core ML artifact is compared with, if the bundle holds it."""
    if artifact.format != EXACT[0] or artifact.precision == EXACT[1]:
        return None
    if recipe_of(bundle, artifact).quantizes:
        return None  # made from a program of its own, with other constants
    held = [a for a in bundle.manifest.artifacts if (a.format, a.precision) == EXACT]
    return bundle.artifact_path(held[0]) if held else None


def _judged(
    bundle: Bundle, artifact: Artifact, expected: Reference, seen: Observation
) -> ArtifactRow:
    judgement = judge(
        target(artifact.format),
        artifact.precision,
        _with_heads(expected, artifact),
        seen.outputs,
        classifies=bundle.manifest.task == "classification",
    )
    # poor on a handful of samples says little: the verdict over the whole evaluation set stands
    verdict, note = artifact.verdict, seen.compared
    allowed = artifact.agreement.snr_db_min - KERNEL_TOLERANCE_DB
    if judgement.verdict == "failed":
        verdict, note = "failed", judgement.note
    elif artifact.precision != "fp32" and judgement.agreement.snr_db_min < allowed:
        found = judgement.agreement.snr_db_min
        verdict, note = (
            "failed",
            f"SNR {found:.1f} dB, the manifest recorded {allowed + KERNEL_TOLERANCE_DB:.1f}",
        )
    return _row(artifact, seen, judgement.agreement, (verdict, note))


def _with_heads(expected: Reference, artifact: Artifact) -> Reference:
    names = {entry.name for entry in artifact.entries}
    return Reference(
        expected.outputs, {c: v for c, v in expected.cuts.items() if head_entry(c) in names}
    )


def _row(
    artifact: Artifact,
    seen: Observation | None,
    agreement: Agreement | None,
    verdict: tuple[str, str],
) -> ArtifactRow:
    return artifact_row(
        (artifact.format, artifact.precision),
        bytes=artifact.bytes,
        runtime=artifact.runtime,
        agreement=agreement,
        timing=seen.timings.get(FORWARD, {}) if seen else {},
        verdict=verdict[0],
        note=verdict[1],
    )

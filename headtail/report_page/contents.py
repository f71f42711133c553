"""What the page says, as one JSON object: the manifest, the table and `quality` brought together.

Every number on the page is a value of this object. Where the quality section has a figure, it was
taken on its own evaluation set and stands before the manifest's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from headtail.manifest import Agreement, Artifact, Coverage, Cut, Manifest, SampleSet
from headtail.metrics import finite_db
from headtail.quality.schema import Faithful, Interval, Quality, QualityReport
from headtail.report import VERDICTS, ArtifactRow, Effort, Report

__all__ = ["ArtifactFacts", "Contents", "CutFacts", "Measured", "contents"]

_REAL_TIMES = ("host", "device")  # an emulator's time is no latency


@dataclass(frozen=True)
class Measured:
    """A value with the ends of its 95 % interval, where one was taken."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ArtifactFacts:
    """One artifact: *good* are `agreement` and `snr_db` against the float32 model on `n` inputs,
    `faithful` is against the program that the file should equal.

    `ratio`: bytes over those of the same format's float32 file. `shares`: of `elements` weight
    elements, the part that each dtype has. `note_n`: how many inputs the note is about, None if
    they are those of the figures. Latencies in ms, None unless taken
    on a host or a device. `synthetic`: it was fitted to noise. `fronts`: `size` and `latency` where
    no artifact is better in both that and the score.
    """

    key: str
    format: str
    precision: str
    path: str
    bytes: int
    ratio: float | None
    n: int
    agreement: Measured | None
    snr_db: Measured | None
    snr_db_min: float | None
    faithful: Faithful | None
    latency_ms_p50: float | None
    latency_ms_p90: float | None
    timing_kind: str
    runtime: str
    minimum_runtime: str
    verdict: str
    note: str
    note_n: int | None
    elements: int
    shares: dict[str, float]
    audit: str
    coverage: Coverage | None
    synthetic: bool
    fronts: tuple[str, ...] = ()


@dataclass(frozen=True)
class SplitFacts:
    """What answers are left of `n` inputs behind a cut; `agreement` None for other models than
    classifiers."""

    n: int
    agreement: Measured | None
    snr_db_mean: float
    snr_db_min: float


@dataclass(frozen=True)
class CutFacts:
    """One place to cut at: what crosses it, what the head does, and by codec bytes on the wire and
    what answers are left; `heads`, by artifact and codec, where these begin in the file's own."""

    id: str
    node: str
    tensors: tuple[str, ...]
    head_flops: float
    wire_bytes: dict[str, int]
    fidelity: dict[str, SplitFacts]
    heads: dict[str, dict[str, SplitFacts]]
    materialised: bool


@dataclass(frozen=True)
class Contents:
    """`score` is what the fronts are about: `agreement`, or `snr_db` if nothing classifies.

    `smallest` and `fastest` are keys of artifacts that pass, "" if none does. `class_names` has
    the classes that the page mentions, by index.
    """

    name: str
    task: str
    source: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    bundle_id: str
    command: str
    score: str
    verdicts: dict[str, int]
    smallest: str
    fastest: str
    artifacts: tuple[ArtifactFacts, ...]
    quality: Quality
    class_names: dict[str, str]
    cuts: tuple[CutFacts, ...]
    calibration: SampleSet | None
    evaluation: SampleSet
    tool_versions: dict[str, str]
    stages: dict[str, float]
    conversions: dict[str, Effort]
    notes: tuple[str, ...]


def contents(manifest: Manifest, report: Report | None) -> Contents:
    """What is known about the bundle; without a report, what the manifest recorded."""
    report = report or Report("export", ())
    quality = report.quality or Quality()
    found = _artifacts(manifest, report, quality)
    score = "agreement" if any(one.agreement for one in found) else "snr_db"
    found = _with_fronts(found, score)
    passing = [one for one in found if one.verdict == "pass"]
    timed = [one for one in passing if one.latency_ms_p50 is not None]
    counts = Counter(one.verdict for one in found)
    return Contents(
        name=manifest.name,
        task=manifest.task,
        source=manifest.source,
        inputs=tuple(map(str, manifest.inputs)),
        outputs=tuple(map(str, manifest.outputs)),
        bundle_id=manifest.bundle_id,
        command=report.command,
        score=score,
        verdicts={verdict: counts[verdict] for verdict in VERDICTS},
        smallest=min(passing, key=lambda one: one.bytes).key if passing else "",
        fastest=min(timed, key=lambda one: one.latency_ms_p50 or 0).key if timed else "",
        artifacts=found,
        quality=quality,
        class_names=_class_names(quality, manifest.labels),
        cuts=tuple(_cut(cut, manifest.artifacts) for cut in manifest.cuts),
        calibration=quality.calibration or manifest.calibration,
        evaluation=quality.evaluation or manifest.evaluation,
        tool_versions=dict(sorted(manifest.tool_versions.items())),
        stages=report.stages,
        conversions=report.conversions,
        notes=report.notes,
    )


def _artifacts(manifest: Manifest, report: Report, quality: Quality) -> tuple[ArtifactFacts, ...]:
    """Those of the manifest, then those that failed and are only in the report."""
    rows = {(row.format, row.precision): row for row in report.artifacts}
    whole = {a.format: a.bytes for a in manifest.artifacts if a.precision == "fp32"}
    held = [
        _held(
            artifact,
            rows.pop((artifact.format, artifact.precision), None),
            quality.report(artifact.format, artifact.precision),
            whole.get(artifact.format),
        )
        for artifact in manifest.artifacts
    ]
    return (*held, *map(_failed, rows.values()))


def _held(
    artifact: Artifact, row: ArtifactRow | None, report: QualityReport | None, whole: int | None
) -> ArtifactFacts:
    seen = artifact.agreement
    top1 = seen.top1
    real = row is not None and row.timing_kind in _REAL_TIMES
    return ArtifactFacts(
        key=f"{artifact.format}.{artifact.precision}",
        format=artifact.format,
        precision=artifact.precision,
        path=artifact.path,
        bytes=artifact.bytes,
        ratio=artifact.bytes / whole if whole else None,
        n=report.n if report else seen.n,
        agreement=_measured(report.agreement)
        if report
        else (None if top1 is None else Measured(top1, seen.low, seen.high)),
        snr_db=_measured(report.snr_db)
        if report
        else Measured(finite_db(seen.snr_db_mean), None, None),
        snr_db_min=report.snr_db_min if report else finite_db(seen.snr_db_min),
        faithful=report.faithful if report else None,
        latency_ms_p50=row.latency_ms_p50 if row and real else None,
        latency_ms_p90=row.latency_ms_p90 if row and real else None,
        timing_kind=row.timing_kind if row else "",
        runtime=artifact.runtime,
        minimum_runtime=artifact.minimum_runtime,
        verdict=row.verdict if row else artifact.verdict,
        note=row.note if row else "",
        note_n=row.n if row and report and row.n != report.n else None,
        elements=sum(artifact.dtypes.values()),
        shares=_shares(artifact.dtypes),
        audit=report.audit if report else "",
        coverage=artifact.coverage,
        synthetic=artifact.calibration is not None and artifact.calibration.synthetic,
    )


def _failed(row: ArtifactRow) -> ArtifactFacts:
    return ArtifactFacts(
        key=f"{row.format}.{row.precision}",
        format=row.format,
        precision=row.precision,
        path="",
        bytes=row.bytes,
        ratio=None,
        n=row.n,
        agreement=None,
        snr_db=None,
        snr_db_min=None,
        faithful=None,
        latency_ms_p50=None,
        latency_ms_p90=None,
        timing_kind="",
        runtime=row.runtime,
        minimum_runtime="",
        verdict=row.verdict,
        note=row.note,
        note_n=None,
        elements=0,
        shares={},
        audit="",
        coverage=None,
        synthetic=False,
    )


def _shares(dtypes: Mapping[str, int]) -> dict[str, float]:
    """The part of the weight elements that each dtype has."""
    total = sum(dtypes.values())
    return {name: count / total for name, count in sorted(dtypes.items()) if count}


def _measured(interval: Interval | None) -> Measured | None:
    return Measured(interval.value, interval.low, interval.high) if interval else None


def _with_fronts(found: Sequence[ArtifactFacts], score: str) -> tuple[ArtifactFacts, ...]:
    fronts = {
        "size": _front(found, score, "bytes"),
        "latency": _front(found, score, "latency_ms_p50"),
    }
    return tuple(
        replace(one, fronts=tuple(name for name, keys in fronts.items() if one.key in keys))
        for one in found
    )


def _front(found: Sequence[ArtifactFacts], score: str, cost: str) -> set[str]:
    """Keys of those that nothing beats in one of cost and score without losing in the other."""
    points = [
        (one.key, getattr(one, cost), getattr(one, score).value)
        for one in found
        if one.verdict != "failed" and getattr(one, cost) is not None and getattr(one, score)
    ]
    return {
        key
        for key, price, value in points
        if not any(p <= price and v >= value and (p < price or v > value) for _, p, v in points)
    }


def _class_names(quality: Quality, labels: Sequence[str]) -> dict[str, str]:
    """Names of the classes that changed images and worst slices are about."""
    wanted: set[int] = set()
    for report in quality.reports:
        wanted.update(index for one in report.changed for index in (one.before, one.after))
        wanted.update(int(one.name) for one in report.slices if one.name.isdecimal())
    return {str(i): labels[i] for i in sorted(wanted) if i < len(labels)}


def _cut(cut: Cut, artifacts: Sequence[Artifact]) -> CutFacts:
    return CutFacts(
        id=cut.id,
        node=cut.node,
        tensors=tuple(map(str, cut.tensors)),
        head_flops=cut.head_flops,
        wire_bytes=dict(sorted(cut.wire_bytes.items())),
        fidelity=_splits(cut.fidelity),
        heads={
            f"{one.format}.{one.precision}": _splits(one.splits[cut.id])
            for one in artifacts
            if cut.id in one.splits
        },
        materialised=cut.materialised,
    )


def _splits(known: Mapping[str, Agreement]) -> dict[str, SplitFacts]:
    return {
        codec: SplitFacts(
            n=found.n,
            agreement=None if found.top1 is None else Measured(found.top1, found.low, found.high),
            snr_db_mean=found.snr_db_mean,
            snr_db_min=found.snr_db_min,
        )
        for codec, found in sorted(known.items())
    }

"""Capture, cut, convert, prove, pack: the page to start reading Headtail from.

    SourceModel ──capture──> graph ──cut──> programs {forward, head_<cut>...}
        programs ──convert──> one file per (format, precision), each format in its own process
        files ──prove──> re-read by their runtimes, run on real inputs, judged against fp32 PyTorch
        what passed ──pack──> NAME.bundle: manifest, artifacts, tail, golden vectors, report

A format that fails is reported and left out; the others are still written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import fx

from exporters.batching import batch_first, batched_twin
from exporters.capture import capture, flat_graph, input_specs, output_specs
from exporters.convert import Conversion, Failure, convert_all, plan_conversions
from exporters.graphfile import TailProgram
from exporters.packing import Proof, pack
from exporters.parity import Reference, judge, reference
from exporters.progress import Progress, Quiet, StageClock
from exporters.prove import Protocol, observe, size_of
from exporters.source import SourceModel
from exporters.splitting import CutPoint, choose_cuts, cut_points, find_cut, head_graph
from exporters.target import TARGETS, target
from headtail.bundle import Bundle, write_report
from headtail.errors import ConversionFailed, GateFailed, SourceFault, UsageFault
from headtail.manifest import FORWARD, Entry, head_entry
from headtail.report import ArtifactRow, Report
from headtail.tensors import TensorSpec

__all__ = ["Captured", "ExportOptions", "ExportResult", "capture_source", "export"]

GOLDEN_SAMPLES = 4  # whole photos with all boundary tensors are about 1.5 MB each


@dataclass(frozen=True)
class ExportOptions:
    """What to write. Empty `precisions`: all that the formats honour; `cuts`: names, or empty for
    the three best; `warmup` and `runs` count timed runs per artifact."""

    destination: Path
    formats: tuple[str, ...] = tuple(TARGETS)
    precisions: tuple[str, ...] = ()
    cuts: tuple[str, ...] = ()
    force: bool = False
    warmup: int = 3
    runs: int = 20

    def __post_init__(self) -> None:
        if not self.destination.name.endswith(".bundle"):
            raise UsageFault(
                f"The destination is {self.destination.name!r}.",
                expected="A bundle is a folder called NAME.bundle.",
                remedy=f"Use {self.destination.name}.bundle.",
            )
        if self.destination.exists() and not self.force:
            raise UsageFault(
                f"{self.destination} already exists.",
                expected="A bundle is never overwritten unasked.",
                remedy="Choose another destination, or pass --force.",
            )


@dataclass(frozen=True)
class ExportResult:
    """The bundle, one row per artifact asked for (failed ones too), what was left out and why."""

    bundle: Bundle
    rows: tuple[ArtifactRow, ...]
    failures: tuple[Failure, ...]
    remarks: tuple[str, ...]
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Was everything that was asked for written and proven?"""
        return not self.failures


@dataclass(frozen=True)
class Captured:
    """The flat graph, the tail (for any batch if the model allows it), the cuts, `.pt2` files."""

    graph: fx.GraphModule
    tail: TailProgram
    cuts: list[CutPoint]
    programs: dict[str, Path]
    entries: tuple[Entry, ...]


def export(
    source: SourceModel, options: ExportOptions, *, progress: Progress | None = None
) -> ExportResult:
    """Export `source`; raises `GateFailed` if not one artifact could be written and proven."""
    clock = StageClock(progress or Quiet())
    pairs, remarks = plan_conversions(options.formats, options.precisions, source.calibration)
    with tempfile.TemporaryDirectory(prefix="headtail-") as temporary:
        folder = Path(temporary)
        with clock.stage("capture"):
            captured = capture_source(source, options, folder)
            if captured.tail.one_sample:
                remarks.append("the tail takes one sample at a time: the model fixes its batch")
        with clock.stage("convert"):
            done, failures = convert_all(
                pairs,
                captured.programs,
                input_specs(captured.graph),
                name=source.name,
                calibration=source.calibration,
                folder=folder,
                progress=clock.progress,
            )
        with clock.stage("verify"):
            expected = reference(captured.graph, source.evaluation.samples, captured.cuts)
            proofs: list[Proof] = []
            for conversion in done:
                proof = _prove(conversion, source, captured, expected, options, folder)
                clock.progress.note(
                    f"{conversion.format} {conversion.precision}: "
                    + (proof.reason if isinstance(proof, Failure) else proof.judgement.verdict)
                )
                if isinstance(proof, Failure):
                    failures.append(proof)
                else:
                    proofs.append(proof)
        _require_any(proofs, failures)
        with clock.stage("pack"):
            bundle = pack(
                source,
                proofs,
                destination=options.destination,
                force=options.force,
                graph=captured.graph,
                tail=captured.tail,
                cuts=captured.cuts,
                expected=expected,
                golden_samples=GOLDEN_SAMPLES,
            )
    rows = tuple(proof.row() for proof in proofs) + tuple(_failed_row(f) for f in failures)
    write_report(bundle, Report("export", rows, tuple(remarks)).to_json())
    return ExportResult(bundle, rows, tuple(failures), tuple(remarks), clock.seconds)


def capture_source(source: SourceModel, options: ExportOptions, folder: Path) -> Captured:
    """Capture the model and its heads; programs are written to `folder`."""
    program = capture(source.module, source.example)
    graph = flat_graph(program)
    _check_labels(source, output_specs(graph)[0])
    batched = batched_twin(source.module, source.example, graph)
    tail = TailProgram.of(batched or graph, one_sample=batched is None)
    points = batch_first(cut_points(graph, source.example), batched)
    if options.cuts:
        cuts = list(dict.fromkeys(find_cut(points, name) for name in options.cuts))
    else:
        elements = sum(value.numel() for value in source.example)
        cuts = choose_cuts(points, input_elements=elements)
    inputs = input_specs(graph)
    programs = {FORWARD: folder / f"{FORWARD}.pt2"}
    torch.export.save(program, programs[FORWARD])
    entries = [Entry(FORWARD, inputs, output_specs(graph))]
    for cut in cuts:
        name = head_entry(cut.id)
        programs[name] = folder / f"{name}.pt2"
        torch.export.save(capture(head_graph(graph, cut), source.example), programs[name])
        entries.append(Entry(name, inputs, cut.tensors))
    return Captured(graph, tail, cuts, programs, tuple(entries))


def _check_labels(source: SourceModel, scores: TensorSpec) -> None:
    if source.labels and len(source.labels) != scores.elements:
        raise SourceFault(
            f"There are {len(source.labels)} labels and the first output is {scores}.",
            expected="A classifier gives one score per label.",
            remedy="Correct get_labels(), or leave it out for a model that does not classify.",
        )


def _prove(  # one artifact against everything known of it
    conversion: Conversion,
    source: SourceModel,
    captured: Captured,
    expected: Reference,
    options: ExportOptions,
    folder: Path,
) -> Proof | Failure:
    aim = target(conversion.format)
    protocol = Protocol(GOLDEN_SAMPLES, options.warmup, options.runs)
    try:
        seen = observe(
            conversion.path,
            (conversion.format, conversion.precision),
            captured.entries,
            source.evaluation.samples,
            folder=folder / "prove" / conversion.path.name,
            protocol=protocol,
        )
    except ConversionFailed as error:
        return Failure(conversion.format, conversion.precision, error.what, error.log)
    judgement = judge(
        aim,
        conversion.precision,
        expected,
        seen.outputs,
        classifies=source.task == "classification",
    )
    if judgement.verdict == "failed":
        return Failure(conversion.format, conversion.precision, judgement.note, "")
    return Proof(
        conversion,
        captured.entries,
        size_of(conversion.path),
        aim,
        judgement,
        seen,
    )


def _require_any(proofs: Sequence[Proof], failures: Sequence[Failure]) -> None:
    if proofs:
        return
    reasons = "; ".join(f"{f.format} {f.precision}: {f.reason}" for f in failures)
    raise GateFailed(
        f"Not one artifact could be written and proven ({reasons}).",
        expected="A bundle holds at least one proven artifact.",
        remedy="Cure the first reason, and export again; no bundle was written.",
    )


def _failed_row(failure: Failure) -> ArtifactRow:
    return ArtifactRow(
        format=failure.format,
        precision=failure.precision,
        bytes=0,
        agreement=None,
        n=0,
        low=None,
        high=None,
        snr_db_mean=None,
        snr_db_min=None,
        latency_ms_p50=None,
        latency_ms_p90=None,
        runtime="",
        timing_kind="",
        verdict="failed",
        note=failure.reason,
    )

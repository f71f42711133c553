"""Capture, cut, convert, prove, pack: the page to start reading Headtail from.

    SourceModel ──capture──> graph ──cut──> programs {forward, head_<cut>...}
        programs ──convert──> one file per (format, precision), each format in its own process
        files ──prove──> re-read by their runtimes, run on real inputs, judged against fp32 PyTorch
        what passed ──pack──> NAME.bundle: manifest, artifacts, tail, golden vectors, report

A format that fails is reported and left out; the others are still written.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from exporters.cache import Cache, default_root
from exporters.captured import Captured, capture_source, tail_of
from exporters.conversion import Captures, Conversion, Failure
from exporters.convert import convert_all, plan_conversions, save_calibration
from exporters.digests import graph_digest
from exporters.kept import Kept
from exporters.packing import Proof, pack
from exporters.parity import Reference, judge, reference
from exporters.processes import Limits
from exporters.progress import Progress, Quiet, StageClock
from exporters.prove import Protocol, observe, size_of
from exporters.repeated import export_key, keep_export, publish_again
from exporters.rows import failed_row
from exporters.source import SourceModel
from exporters.target import TARGETS, target
from headtail.bundle import Bundle, write_report
from headtail.errors import ConversionFailed, GateFailed, UsageFault
from headtail.report import ArtifactRow, Effort, Report

__all__ = ["ExportOptions", "ExportResult", "export"]

Result = TypeVar("Result")
GOLDEN_SAMPLES = 4  # whole photos with all boundary tensors are about 1.5 MB each


@dataclass(frozen=True)
class ExportOptions:
    """What to write. Empty `precisions`: all that the formats honour; `cuts`: names, or empty for
    the three best, unless `split` is off; `warmup` and `runs` count timed runs per artifact;
    `limits` hold for each converter's process; `rebuild` takes nothing from the cache."""

    destination: Path
    formats: tuple[str, ...] = tuple(TARGETS)
    precisions: tuple[str, ...] = ()
    cuts: tuple[str, ...] = ()
    split: bool = True
    force: bool = False
    warmup: int = 3
    runs: int = 20
    limits: Limits = field(default_factory=Limits)
    rebuild: bool = False

    def __post_init__(self) -> None:
        if not self.destination.name.endswith(".bundle"):
            raise UsageFault(
                f"The destination is {self.destination.name!r}.",
                expected="A bundle is a folder called NAME.bundle.",
                remedy=f"Use {self.destination.name}.bundle.",
            )
        if self.cuts and not self.split:
            raise UsageFault(
                f"The cuts {', '.join(self.cuts)} were asked for, and no split.",
                expected="A model is either split at cuts or not at all.",
                remedy="Leave out either --cut or --no-split.",
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


def export(
    source: SourceModel, options: ExportOptions, *, progress: Progress | None = None
) -> ExportResult:
    """Export `source`; raises `GateFailed` if not one artifact could be written and proven."""
    clock, cache = StageClock(progress or Quiet()), Cache(default_root())
    pairs, remarks = plan_conversions(options.formats, options.precisions, source.calibration)
    remarks = [*source.remarks, *remarks]
    with tempfile.TemporaryDirectory(prefix="headtail-") as temporary:
        folder = Path(temporary)
        with clock.stage("capture"):
            captured, said = capture_source(source, folder, cuts=options.cuts, split=options.split)
            remarks += said
            name = export_key(source, captured, pairs, options.warmup, options.runs)
            again = None if options.rebuild else _again(cache, name, options, clock)
        if again:
            return again
        with clock.stage("convert"):
            convert = _conversion(pairs, source, captured, options, folder, clock.progress, cache)
            with _beside(convert) as conversions:
                tail, said = tail_of(source, captured) if captured.cuts else (None, [])
                expected = reference(captured.graph, source.evaluation.samples, captured.cuts)
                done, failures = conversions.result()
            remarks += said
        with clock.stage("verify"):
            proofs = _proofs(done, failures, source, captured, expected, options, folder, clock)
        _require_any(proofs, failures)
        with clock.stage("pack"):
            bundle = pack(
                source,
                proofs,
                destination=options.destination,
                force=options.force,
                graph=captured.graph,
                tail=tail,
                cuts=captured.cuts,
                expected=expected,
                golden_samples=GOLDEN_SAMPLES,
            )
    rows = tuple(proof.row() for proof in proofs)
    rows += tuple(failed_row((f.format, f.precision), f.reason) for f in failures)
    report = Report("export", rows, tuple(remarks), clock.seconds, _converted(done))
    write_report(bundle, report.to_json())
    if not failures:
        keep_export(cache, name, bundle)
    return ExportResult(bundle, rows, tuple(failures), tuple(remarks), clock.seconds)


def _again(
    cache: Cache, name: str, options: ExportOptions, clock: StageClock
) -> ExportResult | None:
    found = publish_again(cache, name, options.destination, force=options.force)
    if found is None:
        return None
    clock.progress.note(found.remarks[-1])
    return ExportResult(found.bundle, found.rows, (), found.remarks, clock.seconds)


Convert = Callable[[threading.Event], tuple[list[Conversion], list[Failure]]]


def _conversion(  # noqa: PLR0913, PLR0917  # all that converting needs
    pairs: Sequence[tuple[str, str]],
    source: SourceModel,
    captured: Captured,
    options: ExportOptions,
    folder: Path,
    progress: Progress,
    cache: Cache,
) -> Convert:
    """The conversions, to be started with the event that ends them early."""
    inputs = captured.entries[0].inputs
    calibration = save_calibration(source.calibration, inputs, folder)
    captures = Captures(
        captured.program,
        captured.heads,
        inputs,
        calibration,
        graph_digest(captured.graph),
        source.calibration.provenance.sha256 if source.calibration else "",
    )
    return lambda cancel: convert_all(
        pairs,
        captures,
        name=source.name,
        folder=folder,
        progress=progress,
        limits=options.limits,
        cancel=cancel,
        cache=Kept(cache, rebuild=options.rebuild),
    )


@contextmanager
def _beside(work: Callable[[threading.Event], Result]) -> Iterator[Future[Result]]:
    """Run `work` beside the body; if the body fails or is interrupted, the work is ended."""
    cancel = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work, cancel)
        try:
            yield future
        except BaseException:
            cancel.set()
            raise


def _proofs(  # noqa: PLR0913, PLR0917  # what is known of an export when its files are there
    done: Sequence[Conversion],
    failures: list[Failure],
    source: SourceModel,
    captured: Captured,
    expected: Reference,
    options: ExportOptions,
    folder: Path,
    clock: StageClock,
) -> list[Proof]:
    """The artifacts that hold; the others are added to `failures`."""
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
    return proofs


def _converted(done: Sequence[Conversion]) -> dict[str, Effort]:
    return {f"{c.format}.{c.precision}": Effort(c.seconds, c.peak_rss_bytes) for c in done}


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

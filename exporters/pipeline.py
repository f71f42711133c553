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
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from exporters.cache import Cache, default_root
from exporters.captured import Captured, capture_source, labelled, tail_of
from exporters.channels_last import FORMATS as CHANNELS_LAST
from exporters.channels_last import takes_channels_last
from exporters.conversion import Captures, Conversion, Failure
from exporters.convert import convert_all, plan_conversions, save_calibration
from exporters.crossing import PART, measured_cuts, measured_heads, read_back
from exporters.digests import graph_digest
from exporters.foreign import FORMATS as FOREIGN_FORMATS
from exporters.foreign import export_foreign
from exporters.graphfile import TailProgram
from exporters.insight import insight_of
from exporters.kept import Kept
from exporters.metadata.documenting import metadata_of
from exporters.options import GOLDEN_SAMPLES, ExportOptions, ExportResult, missed, require_any
from exporters.packing import Proof, pack
from exporters.parity import Reference, reference
from exporters.pixels import takes_pixels
from exporters.progress import Progress, Quiet, StageClock
from exporters.prove import Protocol
from exporters.proving import prove_all, with_exact
from exporters.quality import quality_of
from exporters.quantized import Quantized, quantize_all
from exporters.repeated import export_key, keep_export, publish_again
from exporters.rows import failed_row
from exporters.sized import prove_sizes
from exporters.source import SourceModel
from exporters.sources.savedmodel import ForeignModel
from exporters.target import TARGETS
from headtail.bundle import Bundle, check_destination, write_report
from headtail.errors import UsageFault
from headtail.manifest import Cut
from headtail.quality import Quality
from headtail.report import Effort, Report

__all__ = ["ExportOptions", "ExportResult", "export", "formats_of"]

Result = TypeVar("Result")
Pairs = Sequence[tuple[str, str]]


def formats_of(
    source: SourceModel | ForeignModel, *, channels_last: bool = False
) -> tuple[str, ...]:
    """The formats that a source can be written in: all, unless it has no PyTorch program or its
    pictures are to be channels last."""
    if channels_last:
        return CHANNELS_LAST
    return FOREIGN_FORMATS if isinstance(source, ForeignModel) else tuple(TARGETS)


def export(
    source: SourceModel | ForeignModel, options: ExportOptions, *, progress: Progress | None = None
) -> ExportResult:
    """Export `source`; raises `GateFailed` if not one artifact could be written and proven."""
    check_destination(options.destination, force=options.force)
    source = _as_asked(source, options)
    if isinstance(source, ForeignModel):
        return export_foreign(source, options, progress=progress)
    clock, cache = StageClock(progress or Quiet()), Cache(default_root())
    pairs, remarks = plan_conversions(
        options.formats,
        options.precisions,
        source.calibration,
        solved=not options.dynamic,
        known=options.known,
    )
    remarks = [*source.remarks, *remarks]
    with tempfile.TemporaryDirectory(prefix="headtail-") as temporary:
        folder = Path(temporary)
        with clock.stage("capture"):
            captured, said = _capture(source, folder, options)
            source = labelled(source, captured.entries[0].outputs)
            remarks += said
            name = export_key(
                source,
                captured,
                pairs,
                options.recipes,
                options.fit,
                options.warmup,
                options.runs,
            )
            again = None if options.rebuild else _again(cache, name, options, clock)
        if again:
            return again
        work = _Work(source, captured, options, folder, clock)
        planned = work.planned(pairs)
        converted = work.converted(pairs, planned)
        proofs, failures, said = work.proven(pairs, planned, converted)
        require_any(proofs, failures)
        proofs, cuts = work.split(proofs, converted)
        bundle = work.packed(proofs, converted, cuts)
        quality = work.judged(proofs, planned, converted)
    asked, left_out = missed(failures, options.precisions)
    remarks += [*converted.remarks, *said, *_warnings(planned), *left_out]
    rows = (
        *(p.row() for p in proofs),
        *(failed_row((f.format, f.precision), f.reason) for f in failures),
    )
    efforts = {
        f"{c.format}.{c.precision}": Effort(c.seconds, c.peak_rss_bytes) for c in converted.done
    }
    report = Report("export", rows, tuple(remarks), clock.seconds, efforts, quality)
    write_report(bundle, report.to_json())
    if not asked:
        keep_export(cache, name, bundle)
    return ExportResult(bundle, rows, asked, tuple(remarks), clock.seconds)


def _warnings(planned: Mapping[str, Quantized]) -> set[str]:
    """What is wrong with the calibration set, which is one for all."""
    return {own.halves.warning for own in planned.values() if own.halves.warning}


def _as_asked(
    source: SourceModel | ForeignModel, options: ExportOptions
) -> SourceModel | ForeignModel:
    """The source with the inputs that were asked for: NHWC, pixels."""
    if options.dynamic and isinstance(source, ForeignModel):
        raise UsageFault(
            f"Dynamic sizes were asked for, and {source.name} is a SavedModel.",
            expected="A PyTorch program, whose sizes can be traced.",
            remedy="Leave --dynamic out.",
        )
    if options.channels_last:
        source = takes_channels_last(source)
    return takes_pixels(source) if options.fold_preprocess else source


def _capture(
    source: SourceModel, folder: Path, options: ExportOptions
) -> tuple[Captured, list[str]]:
    return capture_source(
        source, folder, cuts=options.cuts, split=options.split, dynamic=options.dynamic
    )


@dataclass(frozen=True)
class _Converted:
    """The files, and what they are judged and packed with."""

    done: Sequence[Conversion]
    failures: Sequence[Failure]
    tail: TailProgram | None
    expected: Reference
    remarks: Sequence[str]


@dataclass(frozen=True)
class _Work:
    """One export's stages between capture and bundle."""

    source: SourceModel
    captured: Captured
    options: ExportOptions
    folder: Path
    clock: StageClock

    def planned(self, pairs: Pairs) -> dict[str, Quantized]:
        """The quantized precisions' own programs."""
        known = self.options.known
        wanted = [known[name] for name in dict.fromkeys(precision for _, precision in pairs)]
        with self.clock.stage("quantize"):
            return quantize_all(
                self.source,
                self.captured,
                wanted,
                folder=self.folder,
                progress=self.clock.progress,
                fit=self.options.fitting,
            )

    def converted(self, pairs: Pairs, planned: Mapping[str, Quantized]) -> _Converted:
        """Run the converters; this process makes tail and reference meanwhile."""
        source, captured = self.source, self.captured
        convert = partial(
            convert_all,
            with_exact(pairs, planned),
            self._captures(planned),
            name=source.name,
            folder=self.folder,
            progress=self.clock.progress,
            limits=self.options.limits,
            cache=Kept(Cache(default_root()), rebuild=self.options.rebuild),
        )
        with (
            self.clock.stage("convert"),
            _beside(lambda cancel: convert(cancel=cancel)) as conversions,
        ):
            tail, remarks = tail_of(source, captured) if captured.cuts else (None, [])
            expected = reference(captured.graph, source.evaluation.samples, captured.cuts)
            done, failures = conversions.result()
        return _Converted(done, failures, tail, expected, remarks)

    def proven(
        self, pairs: Pairs, planned: Mapping[str, Quantized], converted: _Converted
    ) -> tuple[list[Proof], list[Failure], list[str]]:
        """What holds, what does not or was never written, and remarks."""
        options, progress = self.options, self.clock.progress
        with self.clock.stage("verify"):
            proofs, refused = prove_all(
                converted.done,
                self.captured.entries,
                self.source,
                converted.expected,
                asked=pairs,
                graph=self.captured.graph,
                protocol=Protocol(PART, options.warmup, options.runs),
                folder=self.folder / "prove",
                progress=progress,
                planned=planned,
            )
            proofs, other, said = prove_sizes(
                proofs, self.captured, self.source, folder=self.folder, progress=progress
            )
        return proofs, [*converted.failures, *refused, *other], said

    def split(
        self, proofs: list[Proof], converted: _Converted
    ) -> tuple[list[Proof], tuple[Cut, ...]]:
        """What is left of the answers on the far side of the cuts, by file and by cut."""
        if converted.tail is None:
            return proofs, ()
        expected, classifies = converted.expected, self.source.task == "classification"
        with self.clock.stage("splits"):
            tail = read_back(converted.tail, self.folder)
            cuts = measured_cuts(
                self.source, self.captured, tail, expected, progress=self.clock.progress
            )
            return measured_heads(proofs, cuts, tail, expected, classifies=classifies), cuts

    def packed(self, proofs: Sequence[Proof], converted: _Converted, cuts: Sequence[Cut]) -> Bundle:
        """What was proven, published."""
        options, captured = self.options, self.captured
        with self.clock.stage("pack"):
            return pack(
                self.source,
                proofs,
                destination=options.destination,
                force=options.force,
                forward=captured.entries[0],
                tail=converted.tail,
                cuts=cuts,
                expected=converted.expected,
                golden_samples=GOLDEN_SAMPLES,
            )

    def judged(
        self, proofs: Sequence[Proof], planned: Mapping[str, Quantized], converted: _Converted
    ) -> Quality:
        """What is known of it beyond a table."""
        with self.clock.stage("report"):
            profiled = self.options.fit.profiles
            insight = insight_of(planned, self.source.evaluation.samples) if profiled else None
            return quality_of(self.source, proofs, converted.expected, planned, insight)

    def _captures(self, planned: Mapping[str, Quantized]) -> Captures:
        source, captured = self.source, self.captured
        forward = captured.entries[0]
        return Captures(
            captured.program,
            captured.heads,
            forward.inputs,
            save_calibration(source.calibration, forward.inputs, self.folder),
            captured.digest,
            source.calibration.provenance.sha256 if source.calibration else "",
            metadata_of(source, forward, digest=graph_digest(captured.graph)),
            {name: own.files() for name, own in planned.items()},
            {name: own.plan.recipe for name, own in planned.items()},
        )


def _again(
    cache: Cache, name: str, options: ExportOptions, clock: StageClock
) -> ExportResult | None:
    found = publish_again(cache, name, options.destination, force=options.force)
    if found is None:
        return None
    clock.progress.note(found.remarks[-1])
    return ExportResult(found.bundle, found.rows, (), found.remarks, clock.seconds)


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

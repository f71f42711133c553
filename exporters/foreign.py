"""Exporting a SavedModel: the same stages without a PyTorch program."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from exporters.conversion import Conversion, Failure
from exporters.convert import outcome, plan_conversions, tell
from exporters.exchange import read_samples, write_samples
from exporters.options import GOLDEN_SAMPLES, ExportOptions, ExportResult, missed, require_any
from exporters.packing import pack
from exporters.parity import Reference
from exporters.processes import run_worker
from exporters.progress import Progress, Quiet, StageClock
from exporters.prove import Protocol
from exporters.proving import prove_all, with_exact
from exporters.rows import failed_row
from exporters.sources.savedmodel import ForeignModel
from exporters.target import target
from exporters.worker import ForeignRequest
from headtail.bundle import write_report
from headtail.errors import UsageFault
from headtail.manifest import FORWARD, Entry
from headtail.report import Effort, Report
from quantizers.recipe import recipe

__all__ = ["FORMATS", "export_foreign"]

FORMATS = ("litert", "coreml")
_PRECISIONS = {"litert": ("fp32", "fp16", "w8", "w8a8"), "coreml": ("fp32", "fp16")}
_NO_PROGRAM = "ExecuTorch takes PyTorch programs, and a SavedModel holds none."


def export_foreign(
    source: ForeignModel, options: ExportOptions, *, progress: Progress | None
) -> ExportResult:
    """As `exporters.pipeline.export`; what must agree is TensorFlow and the artifacts."""
    if options.cuts:
        raise UsageFault(
            f"The cuts {', '.join(options.cuts)} were asked for.",
            expected="A SavedModel has no PyTorch program that could be cut.",
            remedy="Leave out --cut, or port the model to PyTorch.",
        )
    clock = StageClock(progress or Quiet())
    pairs, remarks = plan_conversions(
        options.formats, options.precisions, source.calibration, solved=False
    )
    remarks = [*source.remarks, *remarks]
    with tempfile.TemporaryDirectory(prefix="headtail-") as temporary:
        folder = Path(temporary)
        with clock.stage("convert"):
            done, failures, expected = _convert(
                with_exact(pairs), source, options, folder, clock.progress
            )
        entry = Entry(FORWARD, source.inputs, source.outputs)
        with clock.stage("verify"):
            proofs, refused = prove_all(
                done,
                (entry,),
                source,
                expected,
                asked=pairs,
                graph=None,
                protocol=Protocol(GOLDEN_SAMPLES, options.warmup, options.runs),
                folder=folder / "prove",
                progress=clock.progress,
            )
            failures += refused
        require_any(proofs, failures)
        with clock.stage("pack"):
            bundle = pack(
                source,
                proofs,
                destination=options.destination,
                force=options.force,
                forward=entry,
                tail=None,
                cuts=(),
                expected=expected,
                golden_samples=GOLDEN_SAMPLES,
            )
    asked, said = missed(failures, options.precisions)
    remarks += said
    rows = tuple(proof.row() for proof in proofs)
    rows += tuple(failed_row((f.format, f.precision), f.reason) for f in failures)
    efforts = {f"{c.format}.{c.precision}": Effort(c.seconds, c.peak_rss_bytes) for c in done}
    write_report(bundle, Report("export", rows, tuple(remarks), clock.seconds, efforts).to_json())
    return ExportResult(bundle, rows, asked, tuple(remarks), clock.seconds)


def _convert(
    pairs: Sequence[tuple[str, str]],
    source: ForeignModel,
    options: ExportOptions,
    folder: Path,
    progress: Progress,
) -> tuple[list[Conversion], list[Failure], Reference]:
    """One process per format; the first one asks TensorFlow for its answers too."""
    samples, calibration = folder / "samples.safetensors", folder / "calibration.safetensors"
    write_samples(samples, source.evaluation.samples, source.inputs)
    write_samples(calibration, source.calibration.samples, source.inputs)
    answers = folder / "answers.safetensors"
    done: list[Conversion] = []
    failures = [Failure(f, p, _NO_PROGRAM, "") for f, p in pairs if f not in FORMATS]
    for format_name in dict.fromkeys(f for f, _ in pairs if f in FORMATS):
        wanted = [p for f, p in pairs if f == format_name and p in _PRECISIONS[format_name]]
        suffix = target(format_name).suffix
        paths = {recipe(p): folder / format_name / f"{source.name}.{p}.{suffix}" for p in wanted}
        (folder / format_name).mkdir()
        request = ForeignRequest(
            format_name,
            tuple(wanted),
            tuple(map(str, paths.values())),
            str(source.path.resolve()),
            source.inputs,
            source.outputs,
            str(samples),
            str(calibration),
            "" if answers.exists() else str(answers),
            str(folder / format_name / "scratch"),
        )
        events = run_worker(
            request,
            folder / format_name,
            on_event=lambda event, name=format_name: tell(progress, name, event),  # type: ignore[misc]  # mypy cannot infer the default's type
            limits=options.limits,
            cancel=threading.Event(),
        )
        made, failed = outcome(format_name, paths, events)
        done += made
        failures += failed
    outputs = read_samples(answers, source.outputs) if done else []
    return done, failures, Reference(outputs, {})

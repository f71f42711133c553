"""A report's values, and the same in sections of words for screen and Markdown."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from app.benchmark.records import Run
from app.benchmark.wording import artifact_name, heat_words, left_out_words, threads_name, when
from app.figures import byte_size, milliseconds, percent
from app.machine.facts import NOT_TOLD, Condition, MachineFacts, in_words
from headtail import __version__
from headtail.report import markdown

__all__ = [
    "SCHEMA_VERSION",
    "BundleFacts",
    "LiveFacts",
    "OffloadFacts",
    "Report",
    "RuntimeFacts",
    "Section",
    "Way",
    "as_markdown",
    "sections_of",
    "software",
]

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class RuntimeFacts:
    """One runtime of this platform; `reason` says why it is not there, "" if it is."""

    name: str
    format: str
    version: str
    reason: str


@dataclass(frozen=True)
class BundleFacts:
    """The open bundle and the artifact in use, as its manifest has it: top-1 `agreement` with fp32
    PyTorch over `samples` inputs (None if it does not classify), and its minimum SNR in dB."""

    name: str
    bundle_id: str
    format: str
    precision: str
    bytes: int
    agreement: float | None
    low: float | None
    high: float | None
    samples: int
    snr_db_min: float


@dataclass(frozen=True)
class LiveFacts:
    """The newest answers of the Live page: from frame to result in ms, over `answers` of them."""

    answers: int
    p50_ms: float
    p95_ms: float
    fps: float | None
    where: str


@dataclass(frozen=True)
class Way:
    """`frames` in a row that went one way, and why the newest did."""

    way: str
    frames: int
    reason: str


@dataclass(frozen=True)
class OffloadFacts:
    """How frames were decided about, the newest first. `trace` is the file of every decision beside
    the report, "" if there is none."""

    mode: str
    ways: tuple[Way, ...]
    trace: str


@dataclass(frozen=True)
class Report:
    """Everything; a part that there was nothing to say of is None. `made_at` is ISO 8601, UTC."""

    schema_version: int
    made_at: str
    machine: MachineFacts
    condition: Condition
    software: dict[str, str]
    runtimes: tuple[RuntimeFacts, ...]
    bundle: BundleFacts | None
    benchmark: Run | None
    live: LiveFacts | None
    offload: OffloadFacts | None


@dataclass(frozen=True)
class Section:
    """A title, facts by name, and a table (`headings` empty: none)."""

    title: str
    facts: tuple[tuple[str, str], ...] = ()
    headings: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def software() -> dict[str, str]:
    """Versions of what the app is made of."""
    import numpy as np
    import PIL

    # kivy is there if there is a window; this module knows none
    kivy = getattr(sys.modules.get("kivy"), "__version__", NOT_TOLD)
    return {
        "headtail": __version__,
        "python": platform.python_version(),
        "kivy": kivy,
        "numpy": np.__version__,
        "pillow": PIL.__version__,
    }


def sections_of(report: Report) -> tuple[Section, ...]:
    """The report in words."""
    parts = [
        _device(report),
        Section("Software", tuple(sorted(report.software.items()))),
        Section(
            "Runtimes",
            tuple((r.name, r.reason or r.version or "here") for r in report.runtimes),
        ),
        _bundle(report.bundle),
        _benchmark(report.benchmark),
        _live(report.live),
        _offload(report.offload),
    ]
    return tuple(parts)


def as_markdown(report: Report) -> str:
    """The report for people, as GitHub Markdown."""
    lines = ["# Headtail on this device", "", f"Made at {when(report.made_at)}."]
    for section in sections_of(report):
        lines += ["", f"## {section.title}", ""]
        if section.facts:
            lines.append(markdown(("", ""), section.facts))
        if section.headings:
            lines += ["", markdown(section.headings, section.rows)]
    return "\n".join(lines) + "\n"


def _device(report: Report) -> Section:
    machine = report.machine
    memory = machine.memory_bytes
    return Section(
        "Device",
        (
            ("device", machine.device or NOT_TOLD),
            ("system", machine.system),
            ("processor", machine.cpu or NOT_TOLD),
            ("cores", NOT_TOLD if machine.cores is None else str(machine.cores)),
            ("architecture", machine.architecture),
            ("memory", NOT_TOLD if memory is None else byte_size(memory)),
            ("now", in_words(report.condition)),
        ),
    )


def _bundle(bundle: BundleFacts | None) -> Section:
    if bundle is None:
        return Section("Model", (("model", "none was open"),))
    interval = ""
    if bundle.low is not None and bundle.high is not None:
        interval = f", 95 % interval {bundle.low:.3f} to {bundle.high:.3f}"
    agreement = (
        f"does not classify; SNR at least {bundle.snr_db_min:.1f} dB"
        if bundle.agreement is None
        else f"{percent(bundle.agreement)} of {bundle.samples} inputs{interval}"
    )
    return Section(
        "Model",
        (
            ("model", bundle.name),
            ("bundle id", bundle.bundle_id),
            ("artifact", f"{artifact_name(f'{bundle.format}.{bundle.precision}')}"),
            ("size", byte_size(bundle.bytes)),
            ("agrees with PyTorch", agreement),
        ),
    )


def _benchmark(run: Run | None) -> Section:
    if run is None:
        return Section("Benchmark", (("benchmark", "was not run"),))
    rows = [
        (
            artifact_name(measured.cell.artifact),
            f"{measured.cell.backend}, {threads_name(measured.cell.threads)}",
            *(
                _figures(
                    (
                        measured.timing.p50_ms,
                        measured.timing.p90_ms,
                        measured.timing.p99_ms,
                        measured.load_ms,
                    )
                )
                if measured.timing is not None
                else ("failed", "-", "-", "-")
            ),
            measured.timing.kind if measured.timing is not None else measured.fault,
            measured.cell.bundle,
        )
        for measured in run.cells
    ]
    facts = (
        ("measured at", when(run.started_at)),
        ("each", f"{run.effort.runs} runs after {run.effort.warmup} to warm up"),
        ("heat and battery", heat_words(run)),
        *(("not run here", left_out_words(left)) for left in run.left_out),
    )
    headings = ("artifact", "runtime", "p50", "p90", "p99", "load", "kind of time", "model")
    return Section("Benchmark", facts, headings, tuple(rows))


def _live(live: LiveFacts | None) -> Section:
    if live is None:
        return Section("Live", (("live", "nothing was answered"),))
    return Section(
        "Live",
        (
            ("answers", str(live.answers)),
            (
                "frame to result",
                f"p50 {milliseconds(live.p50_ms)}, p95 {milliseconds(live.p95_ms)}",
            ),
            ("rate", NOT_TOLD if live.fps is None else f"{live.fps:.1f} per second"),
            ("the newest was computed", live.where),
        ),
    )


def _offload(offload: OffloadFacts | None) -> Section:
    if offload is None:
        return Section("Offload", (("offload", "no decision was made"),))
    facts = (("mode", offload.mode), ("every decision", offload.trace or "was not kept"))
    rows = tuple((way.way, str(way.frames), way.reason) for way in offload.ways)
    return Section("Offload", facts, ("way", "frames", "why"), rows)


def _figures(values: Sequence[float | None]) -> tuple[str, ...]:
    return tuple("-" if value is None else milliseconds(value) for value in values)

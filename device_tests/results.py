"""What a run of the device tests found: the JSON report and the table at the end of the run.

The kind of every millisecond of a row, `load_ms` included, is its `timing.kind`; an emulated one is
called that and nothing else.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from device_tests.targets.base import TargetFacts
from headtail.errors import SchemaFault
from headtail.metrics import DB_LIMIT
from headtail.report import text
from headtail.strictjson import canonical_bytes, from_json, parse
from headtail.timing import Timing

__all__ = ["Crossed", "DeviceReport", "NotRun", "Replayed", "read_report", "table", "write_report"]

SCHEMA_VERSION = 1
LABELS = {
    "host": "p50 ms (host)",
    "emulated": "p50 ms emulated, says nothing of a phone",
    "device": "p50 ms (device)",
}


@dataclass(frozen=True)
class Crossed:
    """This target's outputs against the host's: minimum SNR in dB; `DB_LIMIT` if identical.

    `gate_db` is None where the figure is reported and not judged.
    """

    snr_db_min: float
    gate_db: float | None

    @property
    def identical(self) -> bool:
        """Are all outputs of all samples equal, bit for bit in their values?"""
        return self.snr_db_min >= DB_LIMIT


@dataclass(frozen=True)
class Replayed:
    """One entry point of one artifact over `samples` golden samples.

    SNR in dB against fp32 PyTorch: worst output of a sample, mean and minimum over samples.
    `gate_db` is None where the figure is reported and not judged. `fault` is "" or says what is
    wrong. `peak_rss_kb`, in KiB, is of the process that ran all entry points of the artifact.
    """

    artifact: str
    format: str
    precision: str
    entry: str
    samples: int
    snr_db_mean: float
    snr_db_min: float
    gate_db: float | None
    host: Crossed | None
    fault: str
    timing: Timing
    load_ms: float
    peak_rss_kb: int

    @property
    def verdict(self) -> str:
        """`fail`, `pass`, or `reported` if there was nothing to judge it by."""
        if self.fault:
            return "fail"
        judged = self.gate_db is not None or (self.host and self.host.gate_db is not None)
        return "pass" if judged else "reported"


@dataclass(frozen=True)
class NotRun:
    """An artifact that this target did not run, and why. It counts neither as passed nor failed."""

    artifact: str
    format: str
    precision: str
    reason: str


@dataclass(frozen=True)
class DeviceReport:
    """What `--report` writes. `target` is None if the target could not be started."""

    schema_version: int
    bundle_name: str
    bundle_id: str
    target: TargetFacts | None
    replayed: tuple[Replayed, ...]
    not_run: tuple[NotRun, ...]
    passed: int
    failed: int
    skipped: int


def write_report(report: DeviceReport, path: Path) -> None:
    """Write canonical JSON, whole or not at all."""
    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        file.write(canonical_bytes(report) + b"\n")
    os.replace(file.name, path)  # noqa: PTH105  # the name is a str


def read_report(path: Path) -> DeviceReport:
    """Read what `write_report` wrote; raises `SchemaFault`."""
    report = from_json(DeviceReport, parse(path.read_bytes()))
    if report.schema_version != SCHEMA_VERSION:
        raise SchemaFault(
            f"Schema version {report.schema_version} is not {SCHEMA_VERSION}",
            "$.schema_version",
            remedy="Read it with the Headtail that wrote it.",
        )
    return report


def table(report: DeviceReport) -> str:
    """The report for a terminal."""
    facts = report.target
    lines = [f"bundle {report.bundle_name} ({report.bundle_id[:16]})"]
    if facts is not None:
        lines.append(f"target {facts.name}: {facts.machine}, {facts.cpu}; {facts.system}")
    if facts is not None and report.replayed:
        headings = ["artifact", "entry", "n", "SNR dB mean/min", "gate", "vs host", "verdict"]
        rows = [_row(replayed) for replayed in report.replayed]
        lines.append(text([*headings, LABELS[facts.timing_kind]], rows))
    lines += [f"FAULT {r.artifact} {r.entry}: {r.fault}" for r in report.replayed if r.fault]
    lines += [f"not run on this target: {n.artifact}: {n.reason}" for n in report.not_run]
    return "\n".join(lines)


def _row(row: Replayed) -> list[str]:
    versus = "-"
    if row.host is not None:
        versus = "identical" if row.host.identical else f"{row.host.snr_db_min:.1f} dB"
    return [
        f"{row.format}.{row.precision}",
        row.entry,
        str(row.samples),
        f"{row.snr_db_mean:.1f} / {row.snr_db_min:.1f}",
        "-" if row.gate_db is None else f"{row.gate_db:.1f}",
        versus,
        row.verdict,
        f"{row.timing.p50_ms:.2f}",
    ]

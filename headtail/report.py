"""The one table that `export`, `verify`, `bench` and `demo` print, and what report.json holds.

Three faces of the same rows: aligned text for a terminal, GitHub Markdown, and (in
`headtail/report_page`) one HTML page. MB are 10^6 bytes. A figure that was not taken is "-".
Decibels at or over `metrics.DB_LIMIT` stand for equal tensors and print as "inf".
"""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headtail.errors import UnknownName
from headtail.metrics import db_text, finite_db
from headtail.quality.schema import Quality
from headtail.strictjson import from_json, to_json
from headtail.timing import TIMING_KINDS

__all__ = [
    "VERDICTS",
    "ArtifactRow",
    "Effort",
    "Report",
    "columns",
    "markdown",
    "markdown_table",
    "text",
    "text_table",
]

VERDICTS = ("pass", "poor", "failed")
NOT_TAKEN = "-"


@dataclass(frozen=True)
class ArtifactRow:
    """One artifact, measured against the fp32 PyTorch model on `n` real inputs.

    `agreement` is the top-1 share with its Wilson 95 % interval `low`, `high`; None for a model
    that does not classify. SNR in dB over `n` samples. Latencies in ms of entry point `forward`;
    `timing_kind` says where, "" if nothing was timed. `verdict`: `pass`; `poor`, faithful to its
    recipe but too far from fp32 to be chosen unasked; `failed`, and `note` says why.
    """

    format: str
    precision: str
    bytes: int
    agreement: float | None
    n: int
    low: float | None
    high: float | None
    snr_db_mean: float | None
    snr_db_min: float | None
    latency_ms_p50: float | None
    latency_ms_p90: float | None
    runtime: str
    timing_kind: str
    verdict: str
    note: str

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise UnknownName("verdict", self.verdict, VERDICTS)
        if self.timing_kind not in ("", *TIMING_KINDS):
            raise UnknownName("timing kind", self.timing_kind, TIMING_KINDS)


@dataclass(frozen=True)
class Effort:
    """What writing one file took: wall-clock seconds in the converter, and its process's most
    resident memory in bytes until then."""

    seconds: float
    peak_rss_bytes: int


@dataclass(frozen=True)
class Report:
    """What report.json holds: which command measured, the rows, and sentences about the whole.

    `stages` are wall-clock seconds by stage; `conversions` what each file took, by
    format.precision. `quality` is what is known beyond the rows, None if nobody measured more.
    """

    command: str
    artifacts: tuple[ArtifactRow, ...]
    notes: tuple[str, ...] = ()
    stages: dict[str, float] = field(default_factory=dict)
    conversions: dict[str, Effort] = field(default_factory=dict)
    quality: Quality | None = None

    @classmethod
    def from_json(cls, value: Any, *, path: str = "$") -> Report:
        """Parse what `to_json` gave, or a former version, whose reports lack `quality` or `halves`.

        Raises `SchemaFault`, which names the place.
        """
        known = {"quality": None, **value} if isinstance(value, dict) else value
        if isinstance(known, dict) and isinstance(known["quality"], dict):
            known = {**known, "quality": {"halves": None, **known["quality"]}}
        return from_json(cls, known, path=path)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values for `write_report`; infinite decibels become +-`DB_LIMIT`."""
        rows = tuple(
            dataclasses.replace(
                row, snr_db_mean=_finite(row.snr_db_mean), snr_db_min=_finite(row.snr_db_min)
            )
            for row in self.artifacts
        )
        value: dict[str, Any] = to_json(dataclasses.replace(self, artifacts=rows))
        return value


def columns() -> Mapping[str, Callable[[ArtifactRow], str]]:
    """Heading -> text of the cell, in the order of the table."""
    return {
        "format": lambda row: row.format,
        "precision": lambda row: row.precision,
        "MB": lambda row: f"{row.bytes / 1e6:.2f}" if row.bytes else NOT_TAKEN,
        "agreement (top-1)": _agreement,
        "SNR dB mean/min": lambda row: f"{_db(row.snr_db_mean)} / {_db(row.snr_db_min)}",
        "p50/p90 ms": lambda row: f"{_ms(row.latency_ms_p50)} / {_ms(row.latency_ms_p90)}",
        "runtime": lambda row: row.runtime or NOT_TAKEN,
        "timing_kind": lambda row: row.timing_kind or NOT_TAKEN,
        "verdict": lambda row: row.verdict,
    }


def text_table(rows: Sequence[ArtifactRow]) -> str:
    """The table for a terminal, the rows' notes as lines below it; no trailing newline."""
    return "\n".join([text(list(columns()), _cells(rows)), *_notes(rows)])


def markdown_table(rows: Sequence[ArtifactRow]) -> str:
    """The table as GitHub Markdown, the rows' notes as a list below it."""
    table = markdown(list(columns()), _cells(rows))
    notes = [f"- {_escape_markdown(note)}" for note in _notes(rows)]
    return "\n".join([table, "", *notes]) if notes else table


def text(headings: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Any table as aligned text; columns of figures to the right, wide characters counted as two.

    Control characters become `?`, so that no cell can move the cursor.
    """
    rows = [[_printable(cell) for cell in row] for row in (headings, *body)]
    widths = [max(_width(cell) for cell in column) for column in zip(*rows, strict=True)]
    right = [_is_numeric(column) for column in zip(*body, strict=True)] or [False] * len(widths)
    lines = [
        "  ".join(_pad(*cell) for cell in zip(row, widths, right, strict=True)) for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def markdown(headings: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Any table as GitHub Markdown (https://github.github.com/gfm/#tables-extension-)."""
    right = [_is_numeric(column) for column in zip(*body, strict=True)] or [False] * len(headings)
    rule = ["--:" if numeric else "---" for numeric in right]
    rows = [[_escape_markdown(cell) for cell in row] for row in (headings, *body)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:]))


def _cells(rows: Sequence[ArtifactRow]) -> list[list[str]]:
    return [[cell(row) for cell in columns().values()] for row in rows]


def _notes(rows: Sequence[ArtifactRow]) -> list[str]:
    return [f"{row.format}.{row.precision}: {_printable(row.note)}" for row in rows if row.note]


def _agreement(row: ArtifactRow) -> str:
    if row.agreement is None:
        return NOT_TAKEN
    interval = ""
    if row.low is not None and row.high is not None:
        interval = f", {row.low:.3f}-{row.high:.3f}"
    return f"{row.agreement:.3f} ({round(row.agreement * row.n)}/{row.n}{interval})"


def _db(value: float | None) -> str:
    return NOT_TAKEN if value is None else db_text(value)


def _ms(value: float | None) -> str:
    return NOT_TAKEN if value is None else f"{value:.2f}"


def _finite(value: float | None) -> float | None:
    return None if value is None else finite_db(value)


def _printable(cell: str) -> str:
    return "".join("?" if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in cell)


def _width(cell: str) -> int:
    # https://www.unicode.org/reports/tr11/: wide and fullwidth take two terminal cells
    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in cell
    )


def _pad(cell: str, width: int, right: bool) -> str:
    space = " " * (width - _width(cell))
    return space + cell if right else cell + space


def _is_numeric(column: Sequence[str]) -> bool:
    firsts = [cell.partition(" ")[0] for cell in column]
    return all(one in (NOT_TAKEN, "inf", "-inf") or one.lstrip("-")[:1].isdigit() for one in firsts)


def _escape_markdown(cell: str) -> str:
    special = "\\|`*_<>[]"
    return "".join(f"\\{c}" if c in special else c for c in _printable(cell))

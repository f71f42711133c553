"""A report as files in `<folder>/reports`: JSON, Markdown, and the trace of decisions.

    headtail-20261122T004501123Z.json         canonical JSON of `Report`
    headtail-20261122T004501123Z.md           the same for people
    headtail-20261122T004501123Z.trace.jsonl  every decision, for `headtail.offload.trace.replay`

Each is written whole or not at all, the JSON last: where it is, all are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from app.benchmark.records import stamp_of, write_whole
from app.report.contents import Report, as_markdown
from app.report.redaction import redacted, redacted_text
from headtail.strictjson import canonical_bytes, from_json, to_json

__all__ = ["save", "shown"]


def shown(report: Report, secrets: Iterable[str]) -> Report:
    """The report that may be shown to anybody: every text of it redacted."""
    return from_json(Report, redacted(to_json(report), secrets))


def save(report: Report, folder: Path, *, trace: str, secrets: Iterable[str]) -> Path:
    """Write the report; the path of the Markdown. `trace` "": there is none.

    Raises `OSError`, such as for a full disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known = tuple(secrets)
    stem = f"headtail-{stamp_of(report.made_at)}"
    if report.offload is not None:
        name = f"{stem}.trace.jsonl" if trace else ""
        report = dataclasses.replace(
            report, offload=dataclasses.replace(report.offload, trace=name)
        )
    if trace:
        write_whole(folder / f"{stem}.trace.jsonl", redacted_text(trace, known).encode())
    public = shown(report, known)
    write_whole(folder / f"{stem}.md", as_markdown(public).encode())
    write_whole(folder / f"{stem}.json", canonical_bytes(public) + b"\n")
    return folder / f"{stem}.md"

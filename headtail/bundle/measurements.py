"""report.json and report.html: what was measured about a bundle, sealed but not part of it.

    report.json = canonical {"bundle_id", "html_sha256", "report": {...}, "sha256", "sheets": {...}}

`sha256` is the SHA-256 of the same canonical bytes with `sha256` set to the empty string, the way
`bundle_id` seals the manifest. `bundle_id` binds the report to one content, `html_sha256` the page
to the report; `sheets`, left out if there are none, are the SHA-256 of the contact sheets of
changed images, `report.<format>.<precision>.jpg`. The seal finds accidents and edits; it is no
signature.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headtail.bundle.reading import Bundle, read_limited
from headtail.errors import HeadtailError, IntegrityFault, UsageFault
from headtail.manifest import REPORT, REPORT_HTML
from headtail.strictjson import canonical_bytes, parse

if TYPE_CHECKING:
    from headtail.report import ArtifactRow, Report

__all__ = ["read_report", "report_files", "update_report", "write_report"]

MAX_REPORT_BYTES = 8 << 20
KEYS = {"bundle_id", "html_sha256", "report", "sha256"}
_SHEETS = "report.*.jpg"
_SHEET = r"report\.[A-Za-z0-9._-]+\.jpg"


def write_report(bundle: Bundle, report: dict[str, Any]) -> None:
    """Write `report` (see `headtail.report.Report`) and its page into the bundle's folder.

    So are the contact sheets of its changed images. Each file is replaced atomically. A crash
    between two leaves one that does not fit the report, which `read_report` refuses by name. Raises
    `SchemaFault` if `report` does not fit.
    """
    from headtail.report import Report
    from headtail.report_page import contents, to_html  # not on a phone, which only reads

    typed = Report.from_json(report, path="$.report")
    page = to_html(contents(bundle.manifest, typed)).encode()
    sheets = _sheets(typed, bundle.manifest.labels)
    envelope: dict[str, Any] = {
        "bundle_id": bundle.manifest.bundle_id,
        "html_sha256": hashlib.sha256(page).hexdigest(),
        "report": report,
    }
    if sheets:
        envelope["sheets"] = {name: hashlib.sha256(s).hexdigest() for name, s in sheets.items()}
    data = canonical_bytes({**envelope, "sha256": _seal(envelope)})
    if max(map(len, (data, page, *sheets.values()))) > MAX_REPORT_BYTES:
        raise UsageFault(
            f"The report has {len(data)} bytes, its page {len(page)}.",
            expected=f"At most {MAX_REPORT_BYTES} bytes each.",
            remedy="Report fewer rows.",
        )
    for stale in set(bundle.path.glob(_SHEETS)) - {bundle.path / name for name in sheets}:
        stale.unlink()
    for name, sheet in sheets.items():
        _replace(bundle.path / name, sheet)
    _replace(bundle.path / REPORT_HTML, page)
    _replace(bundle.path / REPORT, data)


def _sheets(report: Report, labels: Sequence[str]) -> dict[str, bytes]:
    """File name -> JPEG, of the artifacts with changed images."""
    from headtail.quality.sheet import contact_sheet, sheet_name

    found = report.quality.reports if report.quality else ()
    made = {sheet_name(one.key): contact_sheet(one, labels=labels) for one in found}
    return {name: sheet for name, sheet in made.items() if sheet}


def report_files(bundle: Bundle) -> set[str]:
    """Names of the files that the report consists of; raises as `read_report`."""
    if read_report(bundle) is None:
        return set()
    envelope = _envelope(read_limited(bundle.path, REPORT, limit=MAX_REPORT_BYTES))
    return {REPORT, REPORT_HTML, *envelope.get("sheets", {})}


def update_report(
    bundle: Bundle, command: str, rows: Sequence[ArtifactRow], notes: Sequence[str]
) -> None:
    """Write the rows that `command` measured; what the former report knew beyond rows is kept.

    That is how the files were made and how well they hold up, which neither `verify` nor `bench`
    measures. Raises `IntegrityFault` if the former report was changed.
    """
    from headtail.report import Report

    held = read_report(bundle)
    former = Report(command, ()) if held is None else Report.from_json(held, path="$.report")
    report = dataclasses.replace(former, command=command, artifacts=tuple(rows), notes=tuple(notes))
    write_report(bundle, report.to_json())


def read_report(bundle: Bundle) -> dict[str, Any] | None:
    """The report, or None if the bundle has none; `IntegrityFault` if one byte of it changed."""
    present = [rel for rel in (REPORT, REPORT_HTML) if os.path.lexists(bundle.path / rel)]
    if not present:
        return None
    if len(present) == 1:
        absent = REPORT if present == [REPORT_HTML] else REPORT_HTML
        raise _fault(absent, f"is missing beside {present[0]}")
    envelope = _envelope(read_limited(bundle.path, REPORT, limit=MAX_REPORT_BYTES))
    if envelope["bundle_id"] != bundle.manifest.bundle_id:
        raise _fault(REPORT, f"is about bundle {str(envelope['bundle_id'])[:16]}")
    page = read_limited(bundle.path, REPORT_HTML, limit=MAX_REPORT_BYTES)
    if hashlib.sha256(page).hexdigest() != envelope["html_sha256"]:
        raise _fault(REPORT_HTML, "is not the page that was written with the report")
    for name, digest in envelope.get("sheets", {}).items():
        sheet = read_limited(bundle.path, name, limit=MAX_REPORT_BYTES)
        if hashlib.sha256(sheet).hexdigest() != digest:
            raise _fault(name, "is not the sheet that was written with the report")
    report: dict[str, Any] = envelope["report"]
    return report


def _envelope(data: bytes) -> dict[str, Any]:
    try:
        value = parse(data)
        canonical = canonical_bytes(value) == data
    except (HeadtailError, ValueError) as error:  # ValueError: 1e999 or a lone surrogate
        raise _fault(REPORT, f"is not canonical JSON ({error})") from None
    if not canonical or not isinstance(value, dict) or set(value) - {"sheets"} != KEYS:
        raise _fault(REPORT, f"is not canonical JSON with the keys {sorted(KEYS)}")
    if not isinstance(value["report"], dict) or value["sha256"] != _seal(value):
        raise _fault(REPORT, "does not match its own SHA-256")
    sheets = value.get("sheets", {})
    if not isinstance(sheets, dict) or not all(re.fullmatch(_SHEET, name) for name in sheets):
        raise _fault(REPORT, "names sheets that are none")
    return value


def _seal(envelope: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_bytes({**envelope, "sha256": ""})).hexdigest()


def _replace(path: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(0o644)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _fault(rel: str, what: str) -> IntegrityFault:
    return IntegrityFault(
        f"{rel} {what}.",
        file=rel,
        expected="The report is sealed and belongs to this very bundle.",
        remedy=f"Delete {REPORT} and {REPORT_HTML} (and {_SHEETS}), then run `headtail verify` on "
        "the bundle.",
    )

"""The report as one HTML page: no script, no request, every value escaped, light and dark.

The page forbids itself any external resource (Content-Security-Policy), so it can be opened from a
bundle of unknown origin.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from headtail.manifest import Cut, Manifest, SampleSet
from headtail.report import ArtifactRow, Report, columns
from headtail.strictjson import from_json

__all__ = ["to_html"]

STYLE = """
:root{color-scheme:light dark;--ink:#1c2024;--soft:#6b7280;--paper:#fff;--line:#e3e6ea;
--pass:#18794e;--poor:#ad5700;--failed:#ce2c31}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#9aa2ad;--paper:#14171a;--line:#2b3036;
--pass:#3dd68c;--poor:#ffa057;--failed:#ff9592}}
body{margin:3rem auto;max-width:72rem;padding:0 1.5rem;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.6rem;margin:0}h2{font-size:1.05rem;margin:2.2rem 0 .5rem}
p,figcaption{color:var(--soft)}code{font:13px ui-monospace,monospace;overflow-wrap:anywhere}
div.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{padding:.4rem .9rem .4rem 0;text-align:left;border-bottom:1px solid var(--line);
font-variant-numeric:tabular-nums;vertical-align:top}
th{color:var(--soft);font-weight:500;white-space:nowrap}
.pass{color:var(--pass)}.poor{color:var(--poor)}.failed{color:var(--failed)}
.pass,.poor,.failed{font-weight:600}
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def to_html(report: dict[str, Any], manifest: Manifest) -> str:
    """The page of `report` (the JSON of `headtail.report.Report`) about the bundle `manifest`.

    Deterministic. Raises `SchemaFault` if `report` does not fit.
    """
    typed = from_json(Report, report, path="$.report")
    title = escape(f"{manifest.name} - Headtail report")
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{title}</title><style>{STYLE}</style></head><body>",
        f"<h1>{escape(manifest.name)}</h1>",
        f"<p>{escape(manifest.task)} · bundle <code>{escape(manifest.bundle_id)}</code>"
        f" · measured by <code>headtail {escape(typed.command)}</code></p>",
        "<h2>Artifacts</h2>",
        _artifacts(typed.artifacts),
        *(f"<p>{escape(note)}</p>" for note in typed.notes),
        "<h2>Cuts</h2>",
        _cuts(manifest.cuts),
        "<h2>Provenance</h2>",
        _provenance(manifest),
        "<h2>Tools</h2>",
        _table(
            ("tool", "version"), ((name, v) for name, v in sorted(manifest.tool_versions.items()))
        ),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _artifacts(rows: Sequence[ArtifactRow]) -> str:
    *plain, verdict = columns().items()
    body = [
        [*(escape(cell(row)) for _, cell in plain), _verdict(row), escape(row.note)] for row in rows
    ]
    headings = [*(name for name, _ in plain), verdict[0], "note"]
    caption = (
        "<p>Agreement and SNR are with the fp32 PyTorch model on the evaluation set; the interval"
        " is Wilson's, 95 %. MB are 10<sup>6</sup> bytes.</p>"
    )
    return _table(headings, body, escaped=True) + caption


def _verdict(row: ArtifactRow) -> str:
    return f'<span class="{escape(row.verdict)}">{escape(row.verdict)}</span>'


def _cuts(cuts: Sequence[Cut]) -> str:
    body = (
        (
            cut.id,
            cut.node,
            ", ".join(map(str, cut.tensors)),
            f"{cut.head_flops:.1%}",
            ", ".join(f"{codec} {size:,}" for codec, size in sorted(cut.wire_bytes.items())),
            "yes" if cut.materialised else "no",
        )
        for cut in cuts
    )
    headings = (
        "cut",
        "after",
        "tensors",
        "head's share of MACs",
        "bytes on the wire",
        "in the files",
    )
    return _table(headings, body)


def _provenance(manifest: Manifest) -> str:
    sets = [("evaluation", manifest.evaluation), ("calibration", manifest.calibration)]
    body = (
        (name, one.source, str(one.count), str(one.seed), one.sha256)
        for name, one in sets
        if isinstance(one, SampleSet)
    )
    return _table(("set", "source", "count", "seed", "SHA-256"), body)


def _table(headings: Sequence[str], body: Iterable[Sequence[str]], *, escaped: bool = False) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{cell if escaped else escape(cell)}</td>" for cell in row) + "</tr>"
        for row in body
    )
    return f'<div class="wide"><table><tr>{head}</tr>\n{rows}\n</table></div>'

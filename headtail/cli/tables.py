"""The tables and JSON objects that several commands share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from headtail.metrics import db_text
from headtail.report import ArtifactRow, text, text_table
from headtail.strictjson import to_json

if TYPE_CHECKING:
    from exporters.pipeline import ExportResult
    from headtail.manifest import Agreement, Cut, Manifest

__all__ = ["artifacts_json", "cut_lines", "export_json", "export_lines"]

_ANSWER_HEADINGS = ("same answer", "95 %", "SNR dB", "n")
_CUT_HEADINGS = ("cut", "tensors", "head work", "codec", "bytes", *_ANSWER_HEADINGS)
_HEAD_HEADINGS = ("own heads of", "cut", "codec", *_ANSWER_HEADINGS)
_SHOWN_CODECS = ("raw32", "aq8t", "aq8t+deflate", "aq4c+deflate")


def artifacts_json(rows: Sequence[ArtifactRow]) -> list[dict[str, Any]]:
    """One object per artifact; field names are those of `ArtifactRow`."""
    return [vars(row) for row in rows]


def export_lines(result: ExportResult) -> Iterator[str]:
    """What a person wants to see after an export."""
    yield ""
    yield text_table(result.rows)
    yield from _conversion_lines(result.bundle.manifest)
    yield from (f"note: {remark}" for remark in result.remarks)
    for failure in result.failures:
        if failure.log:
            yield f"\n{failure.format} {failure.precision}: last lines of its log"
            yield failure.log
    yield ""
    yield from cut_lines(result.bundle.manifest)
    yield ""
    sample = result.bundle.manifest.evaluation
    yield f"agreement with the source in fp32 on {sample.count} inputs from {sample.source}"
    yield f"bundle {result.bundle.manifest.bundle_id[:16]} written to {result.bundle.path}"
    serve = f" · headtail serve {result.bundle.path}" if result.bundle.manifest.tails else ""
    yield f"next: headtail verify {result.bundle.path}{serve}"


def _conversion_lines(manifest: Manifest) -> Iterator[str]:
    """What was rewritten for each format, and what its delegate takes."""
    shown = set()
    for artifact in manifest.artifacts:
        rewrites = ", ".join(f"{name} x{sites}" for name, sites in artifact.rewrites.items())
        line = f"{artifact.format} rewrites: {rewrites}"
        if rewrites and line not in shown:
            shown.add(line)
            yield line
        if artifact.coverage:
            yield f"{artifact.format} {artifact.precision}: {artifact.coverage}"


def cut_lines(manifest: Manifest) -> Iterator[str]:
    """The cut table: tensors, share of the work, and by codec bytes and what answers are left."""
    body = [
        [*about, codec, str(cut.wire_bytes[codec]), *_answers(cut.fidelity.get(codec))]
        for cut in manifest.cuts
        for about, codec in _rows(cut)
    ]
    if body:
        yield text(_CUT_HEADINGS, body)
    own = [
        [f"{artifact.format} {artifact.precision}", cut.id, codec, *_answers(found)]
        for artifact in manifest.artifacts
        for cut in manifest.cuts
        for codec, found in artifact.splits.get(cut.id, {}).items()
    ]
    if own:
        yield ""
        yield text(_HEAD_HEADINGS, own)


def _rows(cut: Cut) -> Iterator[tuple[list[str], str]]:
    """What stands in front of each codec: the cut itself, in front of the first."""
    shapes = " + ".join(str(list(spec.shape)) for spec in cut.tensors)
    about = [cut.id, shapes, f"{cut.head_flops:.1%}"]
    for codec in _SHOWN_CODECS:
        if codec in cut.wire_bytes:
            yield about, codec
            about = [""] * len(about)


def _answers(found: Agreement | None) -> list[str]:
    if found is None:
        return [""] * 4
    shares = (found.top1, found.low, found.high)
    same, low, high = ("-" if share is None else f"{share:.3f}" for share in shares)
    return [
        same,
        f"{low}-{high}" if found.low is not None else "-",
        db_text(found.snr_db_mean),
        str(found.n),
    ]


def export_json(result: ExportResult) -> dict[str, Any]:
    """The object that `headtail export --json` ends with."""
    manifest = result.bundle.manifest
    return {
        "bundle": str(result.bundle.path),
        "bundle_id": manifest.bundle_id,
        "artifacts": artifacts_json(result.rows),
        "failures": [vars(failure) for failure in result.failures],
        "remarks": list(result.remarks),
        "cuts": {cut.id: cut.wire_bytes for cut in manifest.cuts},
        "fidelity": {cut.id: to_json(cut.fidelity) for cut in manifest.cuts},
        "rewrites": {f"{a.format}.{a.precision}": a.rewrites for a in manifest.artifacts},
        "coverage": {
            f"{a.format}.{a.precision}": to_json(a.coverage)
            for a in manifest.artifacts
            if a.coverage
        },
        "seconds": result.seconds,
    }

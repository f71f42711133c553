"""What `check` and `--bisect` print, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from headtail.report import text

if TYPE_CHECKING:
    from exporters.diagnosis import Bisection, CheckReport, Finding, TargetCheck

__all__ = ["bisection_json", "bisection_lines", "check_json", "check_lines"]


def check_lines(report: CheckReport) -> Iterator[str]:
    """A summary by target, then every call that is not simply taken, by target and operator."""
    if report.capture:
        yield f"torch.export cannot capture the model ({len(report.capture)} places):"
        yield from _finding_lines(report.capture)
        return
    yield _summary(report)
    for target in report.targets:
        if target.findings or target.rewrites:
            yield ""
            yield f"{target.target}:"
        for rewrite, count in target.rewrites.items():
            yield f"  rewritten by {rewrite}: {count} calls"
        yield from _finding_lines(target.findings)


def _summary(report: CheckReport) -> str:
    statuses = ("supported", "rewritten", "not delegated", "unsupported", "unknown")
    rows = [
        [
            target.target,
            target.version or "not installed",
            *(str(target.count(status)) for status in statuses),
            "" if target.delegated is None else f"{target.delegated:.1%}",
        ]
        for target in report.targets
    ]
    return text(["target", "version", *statuses, "MACs delegated"], rows)


def _finding_lines(findings: Iterable[Finding]) -> Iterator[str]:
    groups: dict[tuple[str, str, str, str], list[Finding]] = {}
    for found in findings:
        groups.setdefault((found.status, found.op, found.detail, found.remedy), []).append(found)
    for (status, op, detail, remedy), sites in groups.items():
        share = sum(site.macs for site in sites)
        macs = f", {share:.1%} of MACs" if status == "not delegated" else ""
        yield f"  {status}: {op} ({detail}{macs})"
        yield from (f"    in {site.module or 'the model'}, {site.place}" for site in sites)
        yield f"    -> {remedy}"


def check_json(report: CheckReport) -> dict[str, Any]:
    """The object that `headtail check --json` ends with, without `good`."""
    return {
        "capture": [vars(finding) for finding in report.capture],
        "targets": {target.target: _target_json(target) for target in report.targets},
    }


def _target_json(target: TargetCheck) -> dict[str, Any]:
    return {
        "version": target.version,
        "good": target.good,
        "macs_delegated": target.delegated,
        "rewrites": target.rewrites,
        "operators": [
            {"op": op, "status": status, "calls": calls}
            for (op, status), calls in sorted(target.operators.items())
        ],
        "findings": [vars(finding) for finding in target.findings],
    }


def bisection_lines(found: Bisection) -> Iterator[str]:
    """Every probe in the model's order, then the part at fault, alone, and its reproduction."""
    yield ""
    what = {"agrees": "agrees", "disagrees": "disagrees", "fails": "does not convert or run"}
    yield f"{found.target}: the model {what[found.verdict]} (fp32, gate {found.gate_db:.0f} dB)"
    rows = [
        [f"up to {p.name}", "-" if p.snr_db is None else f"{p.snr_db:.1f}", p.reason[:100]]
        for p in found.probes
    ]
    yield text(["part", "SNR dB", ""], rows)
    if found.good or found.alone is None:
        return
    first = found.module or "the model itself"
    yield f"first at fault: {first}, {found.place or 'no source line kept'}"
    yield f"  calls: {', '.join(found.calls)}"
    if found.alone.good(found.gate_db):
        yield f"  alone it agrees ({found.alone.snr_db:.1f} dB): wrong only behind what precedes it"
    elif found.alone.snr_db is None:
        reason = found.alone.reason[:100]
        yield f"  alone, on the reference's values, it does not run either: {reason}"
    else:
        yield f"  alone, on the reference's values, it is wrong too ({found.alone.snr_db:.1f} dB)"
    yield f"  reproduction: python {found.reproduction}/repro.py"


def bisection_json(found: Bisection) -> dict[str, Any]:
    """One target of the object under `bisect`."""
    return {
        "verdict": found.verdict,
        "gate_db": found.gate_db,
        "probes": [vars(probe) for probe in found.probes],
        "module": found.module,
        "calls": list(found.calls),
        "place": found.place,
        "alone": None if found.alone is None else vars(found.alone),
        "reproduction": None if found.reproduction is None else str(found.reproduction),
    }

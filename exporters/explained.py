"""All that a converter lacks, after it stopped at the first of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from headtail.errors import ConversionFailed

if TYPE_CHECKING:
    from exporters.diagnosis import Finding

__all__ = ["told_in_full"]


def told_in_full(
    error: ConversionFailed, format_name: str, explain: Callable[[], Sequence[Finding]]
) -> ConversionFailed:
    """`error` of a library, with every call that stands in its way; itself if none is found.

    A diagnosis that fails is no reason to lose the error: what it failed with goes to the log.
    """
    try:
        findings = explain()
    except Exception as fault:  # the diagnosis runs the same libraries on the same model
        print(f"no diagnosis: {type(fault).__name__}: {fault}", file=sys.stderr)
        return error
    if not findings:
        return error
    remedies = dict.fromkeys(finding.remedy for finding in findings if finding.remedy)
    noun = "operator stands" if len(findings) == 1 else "operators stand"
    return ConversionFailed(
        f"{len(findings)} {noun} in the way of {format_name}: "
        f"{'; '.join(map(_sentence, findings))}. The library stopped at: {error.what}",
        expected=error.expected,
        remedy=" ".join(remedies) or error.remedy,
    )


def _sentence(finding: Finding) -> str:
    where = ", ".join(part for part in (finding.module, finding.place) if part)
    return f"{finding.op}{f' ({where})' if where else ''}: {finding.detail or finding.status}"

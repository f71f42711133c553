"""`headtail check`: every operator of a model, for every target, before anything is converted.

    module --capture--> calls --prepare(target)--> calls --the converter's decompositions--> calls
    each of the last looked up in the target's table, and told of as the call of the first it is

An original call that is gone after `prepare` is *rewritten*. A call that nothing was found for is
`unsupported`, one that cannot be known is `unknown`; neither is ever called supported.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import fx

from exporters.capture import capture, flat_graph
from exporters.diagnosis.capturing import capture_findings, quiet_torch
from exporters.diagnosis.finding import STATUSES, Finding
from exporters.diagnosis.macs import macs_by_call
from exporters.diagnosis.place import module_of, place_of
from exporters.diagnosis.rewriting import Traced, traced_prepare
from exporters.diagnosis.seen import SeenOp
from exporters.diagnosis.support import SupportTable, remedy_for, support_table
from exporters.progress import Progress, Quiet, StageClock
from headtail.errors import MissingDependency, SourceFault

__all__ = ["CheckReport", "TargetCheck", "check", "explain"]

_SOURCE = Path(__file__).resolve().parents[2]
WHOLE = "(the whole model)"
_OPERATOR_FREE = ("getitem",)  # takes a part of a tuple: nothing to lower


@dataclass(frozen=True)
class TargetCheck:
    """One target: its table's version, calls by (operator, status), what is not simply taken,
    how many calls each rewrite took out.

    `delegated` is the share of the multiply-accumulates in delegates, None where the format has
    none at export.
    """

    target: str
    version: str
    operators: dict[tuple[str, str], int]
    findings: tuple[Finding, ...]
    rewrites: dict[str, int]
    delegated: float | None

    def count(self, status: str) -> int:
        """Number of calls with this status."""
        return sum(n for (_, found), n in self.operators.items() if found == status)

    @property
    def good(self) -> bool:
        """Does nothing stand in the way?"""
        return not any(finding.blocking for finding in self.findings)


@dataclass(frozen=True)
class CheckReport:
    """All targets; if the model cannot be captured, why, and no targets."""

    capture: tuple[Finding, ...]
    targets: tuple[TargetCheck, ...]

    @property
    def good(self) -> bool:
        """Does nothing stand in the way for any target?"""
        return not self.capture and all(target.good for target in self.targets)


def check(
    module: torch.nn.Module,
    example: Sequence[torch.Tensor],
    targets: Sequence[str],
    *,
    progress: Progress | None = None,
) -> CheckReport:
    """Capture once and look every call up for every target; raises `UnknownName` for a target."""
    tables = [support_table(target) for target in targets]
    clock = StageClock(progress or Quiet())
    with clock.stage("capture"):
        try:
            with quiet_torch():
                graph = flat_graph(capture(module, example))
        except SourceFault as refusal:
            return CheckReport(tuple(capture_findings(module, example, refusal.what)), ())
    checks = []
    for table in tables:
        with clock.stage(f"check {table.target}"):
            checks.append(_check_target(graph, example, table))
    return CheckReport((), tuple(checks))


def explain(graph: fx.GraphModule, target: str, example: Sequence[torch.Tensor]) -> list[Finding]:
    """All that stands in the way of converting a flat graph: `unsupported` and `unknown` calls.

    For a converter that failed: it names the first operator that it lacks, this all of them.
    """
    found = _check_target(graph, example, support_table(target)).findings
    return [finding for finding in found if finding.blocking]


def _check_target(
    graph: fx.GraphModule, example: Sequence[torch.Tensor], table: SupportTable
) -> TargetCheck:
    try:
        traced = traced_prepare(graph, example, table.target)
    except Exception as error:  # whatever a rewrite stumbles over, the report is to say it
        return _nothing_known(
            table, f"a rewrite of Headtail's fails: {type(error).__name__}: {error}"
        )
    answer = _look(traced.graph, example, table.target)
    if "seen" not in answer:
        early = f"{table.package} fails before it lowers any operator: {answer['error']}"
        return _nothing_known(table, early)
    seen = [SeenOp(**op) for op in answer["seen"]]
    return _judged(graph, traced, seen, table, macs_by_call(traced.graph, example))


def _nothing_known(table: SupportTable, reason: str) -> TargetCheck:
    remedy = "Run headtail check SOURCE --bisect to find the module at fault."
    whole = Finding(table.target, WHOLE, "unknown", "", "", reason, remedy)
    return TargetCheck(table.target, table.installed, {(WHOLE, "unknown"): 1}, (whole,), {}, None)


def _judged(
    graph: fx.GraphModule,
    traced: Traced,
    seen: Sequence[SeenOp],
    table: SupportTable,
    macs: Mapping[str, int],
) -> TargetCheck:
    by_origin: dict[str, list[SeenOp]] = {}
    for op in seen:
        if op.op not in _OPERATOR_FREE:
            by_origin.setdefault(op.origin, []).append(op)
    total = sum(macs.values()) or 1
    counts: Counter[tuple[str, str]] = Counter()
    findings: list[Finding] = []
    for node in _calls(graph):
        rewrite = traced.removed.get(node.name)
        if rewrite:
            counts[str(node.target), "rewritten"] += 1
    for node in _calls(traced.graph):
        ops = by_origin.pop(node.name, [])
        found = _finding(node, ops, table, macs.get(node.name, 0) / total, traced)
        if node.name not in traced.added or found is not None:
            counts[str(node.target), found.status if found else "supported"] += 1
        findings += [found] if found else []
    findings += [f for ops in by_origin.values() for op in ops if (f := _stray(op, table))]
    known = any(op.delegated is not None for op in seen)
    idle = sum(f.macs for f in findings if f.status != "supported" and known)
    return TargetCheck(
        table.target,
        table.installed,
        dict(counts),
        tuple(sorted(findings, key=lambda f: -STATUSES.index(f.status))),
        _rewrites(traced),
        1 - idle if known and any(macs.values()) else None,
    )


def _finding(
    node: fx.Node, ops: Sequence[SeenOp], table: SupportTable, share: float, traced: Traced
) -> Finding | None:
    """The worst that is to be said of what one call became, or None."""
    worst, detail, culprit = "supported", "", ("", "")
    for op in ops:
        status, why = _status(op, table)
        if status == "supported" and op.delegated is False:
            status, why = "not delegated", "runs outside of the delegate, on portable kernels"
        if STATUSES.index(status) > STATUSES.index(worst):
            worst, culprit = status, (op.op, op.dtype)
            detail = why if op.op == str(node.target) else f"decomposes to {op.op}: {why}"
    if worst == "supported":
        return None
    if node.name in traced.added:
        detail += f" (made by the rewrite {traced.added[node.name]})"
    remedy = remedy_for(culprit[0], table.target, worst, culprit[1])
    return Finding(
        table.target,
        str(node.target),
        worst,
        module_of(node),
        place_of(node),
        detail,
        remedy,
        share if worst == "not delegated" else 0.0,
    )


def _status(op: SeenOp, table: SupportTable) -> tuple[str, str]:
    if op.delegated:
        return "supported", ""
    if op.refused and table.current:
        return "unsupported", op.refused
    return table.status(op.op, op.key, op.dtype)


def _rewrites(traced: Traced) -> dict[str, int]:
    taken = Counter(traced.removed.values())
    return {name: taken[name] for name in traced.applied if taken[name]}


def _stray(op: SeenOp, table: SupportTable) -> Finding | None:
    """A call that a pass of the converter made, from none of the model's."""
    status, why = _status(op, table)
    if status == "supported":
        return None
    detail = f"made by the converter's own passes: {why}"
    remedy = remedy_for(op.op, table.target, status, op.dtype)
    return Finding(table.target, op.op, status, op.module, op.place, detail, remedy)


def _calls(graph: fx.GraphModule) -> Iterable[fx.Node]:
    return (n for n in graph.graph.nodes if n.op == "call_function" and "getitem" not in n.name)


def _look(graph: fx.GraphModule, example: Sequence[torch.Tensor], target: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="headtail-") as temporary:
        folder = Path(temporary)
        program, out, log = folder / "program.pt2", folder / "seen.json", folder / "log"
        torch.export.save(capture(graph, example), program)
        path = os.pathsep.join(filter(None, [str(_SOURCE), os.environ.get("PYTHONPATH")]))
        arguments = [str(program), target, str(out)]
        with log.open("wb") as noise:
            code = subprocess.run(
                [sys.executable, "-P", "-m", "exporters.diagnosis.seen", *arguments],
                stdout=noise,
                stderr=noise,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
                check=False,
            ).returncode
        if not out.exists():
            return {"error": f"its process ended with exit code {code}"}
        answer: dict[str, Any] = json.loads(out.read_text())
    if "missing" in answer:
        raise MissingDependency(
            answer["missing"],
            needed_for=f"checking {target}",
            install="pip install 'headtail[export]'",
        )
    return answer

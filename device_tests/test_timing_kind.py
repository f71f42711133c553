"""Milliseconds say where they were taken, and an emulated one is never called a latency."""

from __future__ import annotations

import json

from device_tests.results import table
from device_tests.session import Session
from device_tests.targets.base import Target
from headtail.manifest import Artifact
from headtail.strictjson import to_json

# by the target's name or the part of it before the colon, so that no target can choose for itself
KINDS = {"host": "host", "qemu": "emulated", "app": "host", "app:adb": "device"}
MACHINES = {"qemu": "aarch64"}


def kind_of(target: Target) -> str:
    return KINDS.get(target.name) or KINDS[target.name.partition(":")[0]]


def test_target_admits_what_it_is(target: Target, session: Session) -> None:
    assert target.timing_kind == kind_of(target)
    assert session.facts is not None
    assert session.facts.timing_kind == kind_of(target)


def test_every_answer_carries_the_kind(session: Session, runnable: Artifact) -> None:
    family = session.target.name.partition(":")[0]
    kind = kind_of(session.target)
    result = session.replays.result(runnable)
    assert result.timing_kind == kind
    assert result.machine == MACHINES.get(family, result.machine)
    for entry in runnable.entries:
        assert session.replays.replayed(runnable, entry).timing.kind == kind


def test_report_calls_no_emulated_time_a_latency(session: Session, target: Target) -> None:
    report = session.report()
    for row in report.replayed:
        assert row.timing.kind == target.timing_kind
    if target.timing_kind == "emulated":
        written = json.dumps(to_json(report.replayed)) + table(report)
        assert "latency" not in written
        assert not report.replayed or "emulated" in table(report)

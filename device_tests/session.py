"""One session of the device tests: a bundle, a target, and what has been found so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from device_tests.replay import Replays
from device_tests.results import SCHEMA_VERSION, DeviceReport, NotRun, Replayed
from device_tests.targets.base import Target, TargetFacts
from headtail.bundle import Bundle
from headtail.manifest import Artifact

__all__ = ["OUTCOMES", "Session"]

OUTCOMES = ("passed", "failed", "skipped")


@dataclass(repr=False)  # whole manifests and arrays would bury every failure
class Session:
    """`outcomes` maps the id of a test to one of `OUTCOMES`."""

    bundle: Bundle
    target: Target
    replays: Replays
    report_path: Path | None
    facts: TargetFacts | None = None
    replayed: dict[tuple[str, str], Replayed] = field(default_factory=dict)
    not_run: dict[str, NotRun] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)

    def leave_out(self, artifact: Artifact, reason: str) -> None:
        """Note that the target does not run `artifact`."""
        self.not_run[artifact.path] = NotRun(
            artifact.path, artifact.format, artifact.precision, reason
        )

    def report(self) -> DeviceReport:
        """The report as far as the session has come."""
        manifest, outcomes = self.bundle.manifest, list(self.outcomes.values())
        return DeviceReport(
            schema_version=SCHEMA_VERSION,
            bundle_name=manifest.name,
            bundle_id=manifest.bundle_id,
            target=self.facts,
            replayed=tuple(self.replayed.values()),
            not_run=tuple(self.not_run.values()),
            passed=outcomes.count("passed"),
            failed=outcomes.count("failed"),
            skipped=outcomes.count("skipped"),
        )

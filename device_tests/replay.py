"""Golden vectors through an artifact on a target, and what became of them.

No threshold is invented here. fp32 must reach the gate that its export had to pass; any other
precision must do, on the machine kind that measured it, what its manifest recorded. Where nothing
was recorded (heads, and other kernels than the recorded ones) figures are reported, not judged,
except that an output that is constant, all zero or not finite fails everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from device_tests.results import Crossed, Replayed
from device_tests.targets.base import Call, CallResult, Job, JobResult, Target
from headtail.bundle import Bundle
from headtail.errors import HeadtailError
from headtail.golden import (
    FP32_GATE_DB,
    RECORDED_SLACK_DB,
    GoldenSet,
    Outputs,
    snrs_db,
    worthless,
)
from headtail.manifest import FORWARD, Artifact, Entry
from headtail.tensors import check_arrays
from headtail.timing import summarize

__all__ = ["CROSS_GATE_DB", "FP32_GATE_DB", "Replays"]

CROSS_GATE_DB = 60.0  # fp32 on this target against fp32 on the host, minimum SNR over the samples


class Replays:
    """Runs an artifact once per target, all entry points and samples in one job; remembers."""

    def __init__(self, bundle: Bundle, target: Target, host: Target) -> None:
        self.bundle = bundle
        self.target = target
        self.golden = GoldenSet(bundle)
        self._host = host
        self._answers: dict[tuple[str, str], JobResult | HeadtailError] = {}

    def samples(self, entry: Entry) -> int:
        """How many golden samples go through `entry`: what the target affords."""
        limit = self.target.forward_limit if entry.name == FORWARD else self.target.head_limit
        return self.golden.count if limit is None else min(limit, self.golden.count)

    def job(self, artifact: Artifact, entries: Sequence[Entry]) -> Job:
        """The job that replays the golden samples through `entries`, in that order."""
        calls = tuple(
            Call(entry.name, self.golden.inputs(i))
            for entry in entries
            for i in range(self.samples(entry))
        )
        return Job(
            format=artifact.format,
            model=self.bundle.artifact_path(artifact),
            sha256=self.bundle.manifest.files[artifact.path].sha256,
            calls=calls,
            warmup=self.target.warmup,
            runs=self.target.runs,
            entries=artifact.entries,
        )

    def result(self, artifact: Artifact) -> JobResult:
        """What the target answered for the artifact."""
        return self._run(self.target, artifact)

    def replayed(self, artifact: Artifact, entry: Entry) -> Replayed:
        """The figures and the verdict for one entry point."""
        result = self.result(artifact)
        calls = self._calls(result, artifact, entry)
        outputs = [call.outputs for call in calls]
        for arrays in outputs:
            check_arrays(arrays, entry.outputs)
        expected = [self.golden.expected(entry, i) for i in range(len(outputs))]
        snrs = snrs_db(expected, outputs)
        gate_db, crossed = self._gate_db(artifact, entry), self._crossed(artifact, entry, outputs)
        timed = [ms for call in calls for ms in call.runs_ms]
        return Replayed(
            artifact=artifact.path,
            format=artifact.format,
            precision=artifact.precision,
            entry=entry.name,
            samples=len(outputs),
            snr_db_mean=fmean(snrs),
            snr_db_min=min(snrs),
            gate_db=gate_db,
            host=crossed,
            fault=_fault(expected, outputs, min(snrs), gate_db, crossed),
            timing=summarize(timed, kind=result.timing_kind, warmup=self.target.warmup),
            load_ms=result.load_ms,
            peak_rss_kb=result.peak_rss_kb,
        )

    def _gate_db(self, artifact: Artifact, entry: Entry) -> float | None:
        if artifact.precision == "fp32":
            return FP32_GATE_DB
        if entry.name == FORWARD and self.target.timing_kind == self._host.timing_kind:
            return artifact.agreement.snr_db_min - RECORDED_SLACK_DB
        return None

    def _crossed(self, artifact: Artifact, entry: Entry, outputs: Outputs) -> Crossed | None:
        if self.target is self._host:
            return None
        calls = self._calls(self._run(self._host, artifact), artifact, entry)
        reference = [call.outputs for call in calls]
        return Crossed(
            snr_db_min=min(snrs_db(reference, outputs)),
            gate_db=CROSS_GATE_DB if artifact.precision == "fp32" else None,
        )

    def _run(self, target: Target, artifact: Artifact) -> JobResult:
        key = (target.name, artifact.path)
        if key not in self._answers:
            try:
                self._answers[key] = target.run(self.job(artifact, artifact.entries))
            except HeadtailError as error:
                self._answers[key] = error
        answer = self._answers[key]
        if isinstance(answer, HeadtailError):
            raise answer
        return answer

    def _calls(self, result: JobResult, artifact: Artifact, entry: Entry) -> Sequence[CallResult]:
        before = artifact.entries[: artifact.entries.index(entry)]
        start = sum(self.samples(other) for other in before)
        return result.calls[start : start + self.samples(entry)]


def _fault(
    expected: Outputs,
    outputs: Outputs,
    snr_db_min: float,
    gate_db: float | None,
    crossed: Crossed | None,
) -> str:
    reason = worthless(expected, outputs)
    if reason:
        return reason
    if gate_db is not None and snr_db_min < gate_db:
        return f"SNR {snr_db_min:.1f} dB against fp32 PyTorch, the gate is {gate_db:.1f}"
    if crossed and crossed.gate_db is not None and crossed.snr_db_min < crossed.gate_db:
        return (
            f"SNR {crossed.snr_db_min:.1f} dB against the host, the gate is {crossed.gate_db:.1f}"
        )
    return ""

"""What a target is: somewhere a bundle's artifacts can be run, and what it says about itself.

One file per member (`host`, `qemu_arm64`, later `adb`, `ios`), named in `device_tests.targets`.
A target only moves bytes and starts the runner; it never compares, and it never falls back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from headtail.errors import GateFailed
from headtail.manifest import Entry
from headtail.tensors import Array

__all__ = [
    "Call",
    "CallResult",
    "FormatSupport",
    "Job",
    "JobRefused",
    "JobResult",
    "Target",
    "TargetCrashed",
    "TargetFacts",
]


class JobRefused(GateFailed):
    """The runner answered that it cannot do this job, in a sentence."""


class TargetCrashed(GateFailed):
    """The runner ended without an answer: killed by a signal, out of time, or speechless."""


@dataclass(frozen=True)
class Call:
    """One call of one entry point: its inputs in the manifest's order."""

    entry: str
    inputs: tuple[Array, ...]


@dataclass(frozen=True)
class Job:
    """One artifact, loaded once, and the calls to make of it.

    `sha256` is what the file must hash to when it has arrived; each call is made `warmup` times
    untimed, then `runs` times timed. `entries` is what the manifest says of the file.
    """

    format: str
    model: Path
    sha256: str
    calls: tuple[Call, ...]
    warmup: int = 0
    runs: int = 1
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class CallResult:
    """Outputs of the first run in the manifest's order, and how long each run took."""

    outputs: tuple[Array, ...]
    runs_ms: tuple[float, ...]


@dataclass(frozen=True)
class JobResult:
    """What came back. `timing_kind` is `host`, `emulated` or `device` (`headtail.timing`).

    `peak_rss_kb` is of the whole process, in KiB; under emulation the emulator is in it.
    """

    runtime: str
    runtime_version: str
    machine: str
    timing_kind: str
    load_ms: float
    peak_rss_kb: int
    calls: tuple[CallResult, ...]


@dataclass(frozen=True)
class FormatSupport:
    """Whether a target runs a format: a `version`, or what is `missing` and how to cure it, or why
    it `never` will. Exactly one is not empty."""

    version: str = ""
    missing: str = ""
    never: str = ""


@dataclass(frozen=True)
class TargetFacts:
    """Where the figures of a report come from. `runtimes` maps a format to its version there."""

    name: str
    timing_kind: str
    machine: str
    cpu: str
    system: str
    runtimes: dict[str, str]
    notes: tuple[str, ...]


class Target(Protocol):
    """Somewhere to run artifacts.

    `timing_kind` says what its milliseconds are; `forward_limit` and `head_limit` are how many
    golden samples it can afford for `forward` and for each head (None: all); `warmup` and `runs` go
    into every job.
    """

    name: str
    timing_kind: str
    forward_limit: int | None
    head_limit: int | None
    warmup: int
    runs: int

    def start(self) -> None:
        """Get ready (build a sysroot, find a phone); raises `EnvironmentFault` with the cure."""
        ...

    def describe(self) -> TargetFacts:
        """Facts for the report; only after `start`."""
        ...

    def formats(self) -> Mapping[str, FormatSupport]:
        """Which formats run here, and why the others do not; callable before `start`."""
        ...

    def run(self, job: Job) -> JobResult:
        """Run one job; raises `JobRefused` or `TargetCrashed`, after which the next job works."""
        ...

    def close(self) -> None:
        """Leave the target as it was found."""
        ...

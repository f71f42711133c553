"""This machine: the runner in a process of the same interpreter, x86-64 or whatever it is."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from collections.abc import Mapping
from importlib import metadata

from device_tests.targets.base import FormatSupport, Job, JobResult, Target, TargetFacts
from device_tests.targets.process import run_job

__all__ = ["HostTarget", "open_target"]

JOB_TIMEOUT_S = 120.0
# format -> (module, distribution that brings it); the runner needs nothing else
PACKAGES = {
    "litert": ("ai_edge_litert", "ai-edge-litert"),
    "executorch": ("executorch", "executorch"),
}
NO_COREML = (
    "no Core ML outside Apple; `headtail verify` checks the file by its reference interpreter"
)


def open_target(name: str) -> Target:
    """The host; its name is always `host`."""
    return HostTarget(name)


class HostTarget:
    """See `device_tests.targets.base.Target`."""

    timing_kind = "host"
    forward_limit: int | None = None
    head_limit: int | None = None
    warmup = 1
    runs = 5

    def __init__(self, name: str) -> None:
        self.name = name

    def start(self) -> None:
        """Nothing to prepare."""

    def describe(self) -> TargetFacts:
        """The machine as Python sees it."""
        ready = {f: s.version for f, s in self.formats().items() if s.version}
        return TargetFacts(
            name=self.name,
            timing_kind=self.timing_kind,
            machine=platform.machine(),
            cpu=_cpu_model(),
            system=platform.platform(),
            runtimes=ready,
            notes=(),
        )

    def formats(self) -> Mapping[str, FormatSupport]:
        """LiteRT and ExecuTorch where their wheels are installed; never Core ML."""
        found = {name: _probe(*package) for name, package in PACKAGES.items()}
        return found | {"coreml": FormatSupport(never=NO_COREML)}

    def run(self, job: Job) -> JobResult:
        """One process of this interpreter per job."""
        environment = {
            key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR") if key in os.environ
        }
        return run_job(
            job,
            python=[sys.executable, "-B"],
            # torch with more threads than free cores is many times slower
            environment=environment | {"OMP_NUM_THREADS": "1"},
            timing_kind=self.timing_kind,
            timeout_s=JOB_TIMEOUT_S,
        )

    def close(self) -> None:
        """Nothing to give back."""


def _probe(module: str, distribution: str) -> FormatSupport:
    if importlib.util.find_spec(module) is None:
        return FormatSupport(
            missing=f"{distribution} is not installed; install it with: pip install {distribution}"
        )
    return FormatSupport(version=metadata.version(distribution))


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123  # a stream, no file
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"

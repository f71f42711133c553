"""An emulated arm64 core: the real aarch64 LiteRT wheel under qemu-user, NEON kernels and all.

It shows that the arm64 build runs and what numbers it gives. Its milliseconds are `emulated`: they
say nothing about a phone. https://www.qemu.org/docs/master/user/main.html
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from device_tests.cpus import CPUS
from device_tests.sysroot import Sysroot, cache_folder, ensure_sysroot, recipe_for
from device_tests.targets.base import FormatSupport, Job, JobResult, Target, TargetFacts
from device_tests.targets.host import NO_COREML, HostTarget
from device_tests.targets.process import run_job
from headtail.errors import MissingDependency

__all__ = ["QemuTarget", "open_target"]

QEMU = "qemu-aarch64-static"
JOB_TIMEOUT_S = 240.0
NO_EXECUTORCH = (
    "ExecuTorch on arm64 needs a C++ runner (its Python binding needs torch, which has no small"
    " aarch64 wheel); planned, use --target host meanwhile"
)


def open_target(name: str) -> Target:
    """The core `name` of `device_tests.cpus.CPUS`."""
    return QemuTarget(name)


class QemuTarget:
    """See `device_tests.targets.base.Target`."""

    timing_kind = "emulated"
    # EfficientNet-Lite0 in fp32 takes seconds per picture here. Two samples of forward, because one
    # cannot show an output that is always the same; one of each head, which are parts of forward.
    forward_limit: int | None = 2
    head_limit: int | None = 1
    warmup = 0
    runs = 1

    def __init__(self, cpu: str) -> None:
        self.name = f"qemu:{cpu}"
        self._cpu = CPUS[cpu]
        self._sysroot: Sysroot | None = None

    def start(self) -> None:
        """Find qemu and LiteRT's version, build or find the sysroot; `EnvironmentFault` if not."""
        if shutil.which(QEMU) is None:
            raise MissingDependency(
                QEMU,
                needed_for=f"the target {self.name}",
                install="apt-get install qemu-user-static",
            )
        litert = HostTarget("host").formats()["litert"]
        if not litert.version:
            raise MissingDependency(
                "ai-edge-litert",
                needed_for=f"the target {self.name}, which runs the host's version of it",
                install="pip install ai-edge-litert",
            )
        recipe = recipe_for(_debian_release(), litert=litert.version)
        self._sysroot = ensure_sysroot(recipe, cache=cache_folder())

    def describe(self) -> TargetFacts:
        """The emulated core, the emulator's version, and what is in the sysroot."""
        record = self._ready().record
        return TargetFacts(
            name=self.name,
            timing_kind=self.timing_kind,
            machine="aarch64",
            cpu=f"{self._cpu.model} ({self._cpu.note}), emulated on {platform.machine()}",
            system=f"qemu-user {_qemu_version()}, Debian {record.recipe.release} arm64",
            runtimes={f: s.version for f, s in self.formats().items() if s.version},
            notes=(
                "milliseconds under emulation are not latencies",
                f"executorch: {NO_EXECUTORCH}",
                *record.wheels,
                *record.packages,
            ),
        )

    def formats(self) -> Mapping[str, FormatSupport]:
        """LiteRT, in the host's version; not yet ExecuTorch; never Core ML."""
        return {
            "litert": HostTarget("host").formats()["litert"],
            "executorch": FormatSupport(never=NO_EXECUTORCH),
            "coreml": FormatSupport(never=NO_COREML),
        }

    def run(self, job: Job) -> JobResult:
        """One emulated process per job."""
        return run_job(
            job,
            python=self.python(),
            environment={key: os.environ[key] for key in ("PATH", "TMPDIR") if key in os.environ},
            timing_kind=self.timing_kind,
            timeout_s=JOB_TIMEOUT_S,
        )

    def python(self, *modules: Path) -> list[str]:
        """The command that starts the arm64 Python, with the folders `modules` on its path too."""
        sysroot, cpu = self._ready(), self._cpu.model
        root = sysroot.root(cpu)
        guest = {
            "PYTHONHOME": root / "usr",
            "PYTHONPATH": os.pathsep.join(map(str, (sysroot.site, *modules))),
            "PYTHONNOUSERSITE": 1,
            # compiling numpy anew in every process takes most of an emulated start
            "PYTHONPYCACHEPREFIX": sysroot.bytecode,
        }
        settings = [word for item in guest.items() for word in ("-E", "{}={}".format(*item))]
        return [QEMU, "-cpu", cpu, "-L", str(root), *settings, str(sysroot.python(cpu))]

    def close(self) -> None:
        """Nothing runs between jobs; the sysroot stays in the cache."""

    def _ready(self) -> Sysroot:
        if self._sysroot is None:
            self.start()
        assert self._sysroot is not None  # start() either set it or raised
        return self._sysroot


def _debian_release() -> str:
    try:
        return platform.freedesktop_os_release().get("VERSION_CODENAME", "unknown")
    except OSError:
        return "not a Debian"


def _qemu_version() -> str:
    said = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\S+)", said)
    return found.group(1) if found else "unknown"

"""The app itself, in agent mode: its runtimes, its adapters, its code paths.

`app` starts it as a process of this machine. `app:adb` drives the one that is installed on a phone
(`ANDROID_SERIAL` says which, as it does for adb): the job's folder is pushed, copied into the app's
own files by `run-as`, the app is started with the folder's name as an extra of the intent, and the
result is read back. `run-as` works for debuggable builds only. The command lines are made by pure
functions; on a phone they were not tried yet.

https://developer.android.com/tools/adb#am, https://developer.android.com/tools/adb#run-as
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from device_tests import protocol
from device_tests.targets.base import (
    FormatSupport,
    Job,
    JobResult,
    Target,
    TargetCrashed,
    TargetFacts,
)
from device_tests.targets.host import HostTarget
from headtail.errors import EnvironmentFault
from headtail.strictjson import canonical_bytes, to_json

__all__ = [
    "ACTIVITY",
    "PACKAGE",
    "AppOnPhone",
    "AppTarget",
    "clean_commands",
    "copy_commands",
    "job_json",
    "open_target",
    "read_command",
    "start_command",
]

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "org.headtail.headtail"
ACTIVITY = "org.kivy.android.PythonActivity"
EXTRA = "headtail.agent"
STAGING = "/data/local/tmp/headtail-agent"  # where adb may write and run-as may read
JOB_TIMEOUT_S = 240.0
PHONE_TIMEOUT_S = 600.0
ASK_EVERY_S = 1.0
ON_THE_PHONE = "as built into the app"
NO_COREML_THERE = "no Core ML on Android"


def open_target(where: str) -> Target:
    """`here`: a process of this machine. `adb`: the app on a phone."""
    return AppOnPhone() if where == "adb" else AppTarget()


def job_json(job: Job, *, model: str, inputs: str) -> bytes:
    """The job as the agent reads it (`README.md`); `inputs` is put before the names of the files
    that `device_tests.protocol.input_files` makes."""
    files = protocol.input_names(job)
    return canonical_bytes(
        {
            "schema_version": protocol.SCHEMA_VERSION,
            "kind": "calls",
            "format": job.format,
            "model": model,
            "sha256": job.sha256,
            "runtime": "",
            "accelerator": "cpu",
            "threads": 1,
            "warmup": job.warmup,
            "runs": job.runs,
            "entries": to_json(job.entries),
            "calls": [
                {"entry": call.entry, "inputs": [f"{inputs}{files[id(a)]}" for a in call.inputs]}
                for call in job.calls
            ],
        }
    )


class AppTarget(HostTarget):
    """See `device_tests.targets.base.Target`: `python -m app.main --agent`, a process per job."""

    def __init__(self) -> None:
        super().__init__("app")

    def run(self, job: Job) -> JobResult:
        """One process per job."""
        with tempfile.TemporaryDirectory(prefix="headtail-agent-") as name:
            folder = Path(name)
            _lay_out(job, folder, model=str(job.model.resolve()))
            words = ["--agent", str(folder / "job.json"), "--out", str(folder / "result.json")]
            command = [sys.executable, "-B", "-m", "app.main", *words]
            done = _run(command, timeout_s=JOB_TIMEOUT_S, cwd=folder)
            answer = folder / "result.json"
            reply = protocol.read_answer(
                answer.read_bytes() if answer.exists() else b"",
                exit_code=done.returncode,
                stderr=done.stderr,
            )
            read = {path.name: path.read_bytes() for path in folder.glob("*.*.npy")}
            return protocol.result(reply, job, timing_kind=self.timing_kind, read=read)


class AppOnPhone:
    """See `device_tests.targets.base.Target`: the installed app, started by an intent."""

    name = "app:adb"
    timing_kind = "device"
    forward_limit: int | None = None
    head_limit: int | None = None
    warmup = 3
    runs = 20

    def __init__(self) -> None:
        self._jobs = 0

    def start(self) -> None:
        """Find the phone and the app; `EnvironmentFault` with the cure if one is not there."""
        try:
            done = _run(["adb", "shell", "run-as", PACKAGE, "true"], timeout_s=30.0)
        except FileNotFoundError:
            raise _no_phone(
                "adb is not installed", "Install it with: apt-get install adb"
            ) from None
        if done.returncode:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()[-200:]
            raise _no_phone(
                f"adb says: {said}", f"Install a debuggable {PACKAGE}, see adb devices."
            )

    def describe(self) -> TargetFacts:
        """What the phone says of itself."""
        names = (
            "ro.product.manufacturer",
            "ro.product.model",
            "ro.soc.model",
            "ro.product.cpu.abi",
        )
        maker, model, chip, abi = map(_property, names)
        return TargetFacts(
            name=self.name,
            timing_kind=self.timing_kind,
            machine=abi,
            cpu=chip or "unknown",
            system=f"{maker} {model}, Android {_property('ro.build.version.release')}",
            runtimes={f: s.version for f, s in self.formats().items() if s.version},
            notes=(),
        )

    def formats(self) -> Mapping[str, FormatSupport]:
        """LiteRT and ExecuTorch as the app has them; never Core ML."""
        there = FormatSupport(version=ON_THE_PHONE)
        return {
            "litert": there,
            "executorch": there,
            "coreml": FormatSupport(never=NO_COREML_THERE),
        }

    def run(self, job: Job) -> JobResult:
        """Push, start, wait, read, remove."""
        self._jobs += 1
        name = f"job{os.getpid()}-{self._jobs}"
        try:
            with tempfile.TemporaryDirectory(prefix="headtail-agent-") as local:
                folder = Path(local, name)
                folder.mkdir()
                _lay_out(job, folder, model=job.model.name)
                (folder / job.model.name).write_bytes(job.model.read_bytes())
                for command in [*copy_commands(str(folder), name), start_command(name)]:
                    _checked(command)
            reply = protocol.read_answer(_awaited(name), exit_code=0, stderr=b"")
            files = [file for call in reply.calls for file in call.outputs]
            read = {file: _checked(read_command(name, file)) for file in files}
            return protocol.result(reply, job, timing_kind=self.timing_kind, read=read)
        finally:
            for command in clean_commands(name):
                _run(command, timeout_s=60.0)

    def close(self) -> None:
        """Every job took its files away."""


def copy_commands(local: str, name: str) -> list[list[str]]:
    """The job's folder from here into the app's own files, as `agent/NAME`."""
    return [
        ["adb", "shell", "mkdir", "-p", STAGING],
        ["adb", "push", local, f"{STAGING}/{name}"],
        ["adb", "shell", "run-as", PACKAGE, "mkdir", "-p", "files/agent"],
        ["adb", "shell", "run-as", PACKAGE, "cp", "-r", f"{STAGING}/{name}", f"files/agent/{name}"],
    ]


def start_command(name: str) -> list[str]:
    """Stop the app if it runs, start it for the job, return when it has started."""
    component = f"{PACKAGE}/{ACTIVITY}"
    return ["adb", "shell", "am", "start", "-W", "-S", "-n", component, "--es", EXTRA, name]


def read_command(name: str, file: str) -> list[str]:
    """A file of the job's folder to stdout, bytes as they are."""
    return ["adb", "exec-out", "run-as", PACKAGE, "cat", f"files/agent/{name}/{file}"]


def clean_commands(name: str) -> list[list[str]]:
    """Take the job's files away, there and there."""
    return [
        ["adb", "shell", "run-as", PACKAGE, "rm", "-rf", f"files/agent/{name}"],
        ["adb", "shell", "rm", "-rf", f"{STAGING}/{name}"],
    ]


def _lay_out(job: Job, folder: Path, *, model: str) -> None:
    for file, data in protocol.input_files(job).items():
        (folder / file).write_bytes(data)
    (folder / "job.json").write_bytes(job_json(job, model=model, inputs=""))


def _awaited(name: str) -> bytes:
    """The result, which the app puts there whole or not at all."""
    end = time.monotonic() + PHONE_TIMEOUT_S
    while time.monotonic() < end:
        done = _run(read_command(name, "result.json"), timeout_s=60.0)
        # exec-out gives no exit code; what cat complains of is no JSON object
        if done.stdout.lstrip().startswith(b"{"):
            return done.stdout
        time.sleep(ASK_EVERY_S)
    raise TargetCrashed(
        f"The app on the phone gave no result within {PHONE_TIMEOUT_S:g} s.",
        expected="A job of the device tests takes seconds.",
        remedy=f"See adb logcat; the job was {name}.",
    )


def _checked(command: Sequence[str]) -> bytes:
    done = _run(command, timeout_s=PHONE_TIMEOUT_S)
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()[-300:]
        raise TargetCrashed(
            f"{' '.join(command[:4])} ... ended with exit code {done.returncode}: {said}.",
            expected="adb reaches a phone with a debuggable build of the app.",
            remedy="Check adb devices, and adb shell run-as by hand.",
        )
    return done.stdout


def _property(name: str) -> str:
    return _checked(["adb", "shell", "getprop", name]).decode(errors="replace").strip()


def _run(
    command: Sequence[str], *, timeout_s: float, cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            command,
            cwd=cwd,
            # torch with more threads than free cores is many times slower
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        raise TargetCrashed(
            f"{' '.join(command[:4])} ... did not end within {timeout_s:g} s.",
            expected="A job of the device tests takes seconds.",
            remedy="Try again on a machine with less to do, or with a smaller model.",
        ) from None


def _no_phone(what: str, remedy: str) -> EnvironmentFault:
    return EnvironmentFault(
        f"The app on a phone cannot be driven: {what}.",
        expected="adb reaches a phone with a debuggable build of the app.",
        remedy=remedy,
    )

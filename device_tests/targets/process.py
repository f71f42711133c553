"""Running the runner as a process of this machine: what `host` and emulated targets share."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from device_tests import protocol
from device_tests.targets.base import Job, JobResult, TargetCrashed

__all__ = ["run_job"]


def run_job(
    job: Job,
    *,
    python: Sequence[str],
    environment: Mapping[str, str],
    timing_kind: str,
    timeout_s: float,
) -> JobResult:
    """Lay out the inputs in a temporary folder, run `python run.py ...`, read the outputs back."""
    with tempfile.TemporaryDirectory(prefix="headtail-job-") as name:
        inputs, outputs = Path(name, "in"), Path(name, "out")
        inputs.mkdir()
        outputs.mkdir()
        for file, data in protocol.input_files(job).items():
            (inputs / file).write_bytes(data)
        words = protocol.arguments(
            job,
            model=str(job.model.resolve()),
            inputs=str(inputs),
            outputs=str(outputs),
            timing_kind=timing_kind,
        )
        command = [*python, str(protocol.RUNNERS / "run.py"), *words]
        # in the temporary folder, so that a crash's core file goes away with it
        done = _run(command, cwd=Path(name), environment=environment, timeout_s=timeout_s)
        reply = protocol.read_answer(done.stdout, exit_code=done.returncode, stderr=done.stderr)
        read = {path.name: path.read_bytes() for path in outputs.iterdir()}
        return protocol.result(reply, job, timing_kind=timing_kind, read=read)


def _run(
    command: Sequence[str], *, cwd: Path, environment: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            command,
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        raise TargetCrashed(
            f"The runner did not end within {timeout_s:g} s.",
            expected="A job of the device tests takes seconds.",
            remedy="Try again on a machine with less to do, or with a smaller model.",
        ) from None

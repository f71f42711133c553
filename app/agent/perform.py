"""A job file to a result file and an exit code: 0 good, 1 a gate failed, 2 usage, 3 environment."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from app.agent.calls import make_calls
from app.agent.replay import replay
from app.agent.schema import (
    SCHEMA_VERSION,
    BundleReply,
    CallsJob,
    CallsReply,
    Refusal,
    read_job,
)
from app.benchmark.records import write_whole
from app.machine import Machine, find_machine, platform_name
from app.platforms import find_platform
from headtail.errors import EnvironmentFault, HeadtailError, SchemaFault, UsageFault
from headtail.manifest import is_plain_path
from headtail.runtimes.base import Runtime
from headtail.strictjson import canonical_bytes

__all__ = ["perform"]

log = logging.getLogger(__name__)
MAX_JOB_BYTES = 1 << 20


def perform(
    job: Path,
    result: Path,
    *,
    confined: bool = False,
    runtimes: Callable[[], Sequence[Runtime]] | None = None,
    machine: Machine | None = None,
) -> int:
    """Do the job in the file `job` and write `result`, whole or not at all; the exit code.

    Output arrays lie beside `result`. `confined`: nothing outside the job's folder is read, which
    is what a job is held to that another program asked for. `runtimes` and `machine` are those of
    this platform unless given. Raises `UsageFault` if the result has no folder to lie in, and
    `EnvironmentFault` if it cannot be written.
    """
    if not result.parent.is_dir():
        raise UsageFault(
            f"{result}: there is no folder {result.parent}.",
            expected="The result goes into a folder that exists.",
            remedy="Make the folder, and ask again.",
        )
    name = platform_name()
    try:
        reply, code = _done(
            job,
            runtimes or find_platform(name).runtimes,
            machine or find_machine(name),
            outputs=result.parent,
            confined=confined,
        )
    except HeadtailError as error:
        reply, code = Refusal(SCHEMA_VERSION, type(error).__name__, str(error)), error.exit_code
    except Exception as error:  # whatever a runtime raises is told, where nobody sees a screen
        log.exception("the job ended")
        reply, code = Refusal(SCHEMA_VERSION, type(error).__name__, str(error)), 1
    try:
        write_whole(result, canonical_bytes(reply) + b"\n")
    except OSError as error:
        raise EnvironmentFault(
            f"The result {result.name} cannot be written ({error.strerror}).",
            expected="The job was done; its result needs a place.",
            remedy="Make room there, and ask again.",
        ) from None
    return code


def _done(
    job: Path,
    runtimes: Callable[[], Sequence[Runtime]],
    machine: Machine,
    *,
    outputs: Path,
    confined: bool,
) -> tuple[BundleReply | CallsReply | Refusal, int]:
    task = read_job(_job_bytes(job))

    def where(path: str) -> Path:
        if confined and not is_plain_path(path):
            raise SchemaFault(
                f"{path[:80]!r} is not a plain path within the job's folder",
                "$",
                remedy="Put what the job needs into its folder and name it from there.",
            )
        return job.parent / path

    if isinstance(task, CallsJob):
        return make_calls(task, runtimes(), where=where, outputs=outputs), 0
    reply = replay(task, runtimes, machine, where=where)
    return reply, 0 if reply.good else 1


def _job_bytes(job: Path) -> bytes:
    try:
        with job.open("rb") as file:
            data = file.read(MAX_JOB_BYTES + 1)
    except OSError as error:
        raise UsageFault(
            f"The job {job.name} cannot be read ({error.strerror}).",
            expected="A job is a JSON file.",
            remedy="Check the path.",
        ) from None
    if len(data) > MAX_JOB_BYTES:
        raise UsageFault(
            f"The job {job.name} has more than {MAX_JOB_BYTES} bytes.",
            expected="Arrays are in files that the job names.",
            remedy="Write the job as device_tests/README.md describes it.",
        )
    return data

"""What a runner is told and what it answers: bytes and strings in, values out, no processes.

The command line is that of `runners/run.py`. The answer is the last line of its stdout, one JSON
object: a `Reply`, or a `Refusal` with the runtime's own words. Everything else it or its runtime
prints is noise, and is shown only when there is no answer.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device_tests.targets.base import CallResult, Job, JobRefused, JobResult, TargetCrashed
from headtail.errors import SchemaFault
from headtail.strictjson import from_json, parse
from headtail.tensors import Array

__all__ = [
    "Refusal",
    "Reply",
    "arguments",
    "input_files",
    "input_names",
    "read_answer",
    "result",
]

SCHEMA_VERSION = 1
MAX_LINE_BYTES = 1 << 20
RUNNERS = Path(__file__).parent / "runners"


@dataclass(frozen=True)
class CallReply:
    """File names of the outputs, in order, and the time of each run in milliseconds."""

    outputs: tuple[str, ...]
    runs_ms: tuple[float, ...]


@dataclass(frozen=True)
class Reply:
    """The answer of a runner that did its job; one `CallReply` per call."""

    schema_version: int
    runtime: str
    runtime_version: str
    machine: str
    model_sha256: str
    timing_kind: str
    load_ms: float
    calls: tuple[CallReply, ...]
    peak_rss_kb: int


@dataclass(frozen=True)
class Refusal:
    """The answer of a runner that could not: the exception's name and words."""

    schema_version: int
    error: str
    message: str


def input_files(job: Job) -> dict[str, bytes]:
    """The `.npy` files to lay out for `job`, by name; an array used twice is stored once."""
    files: dict[str, bytes] = {}
    for array, name in _names(job).values():
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        files[name] = buffer.getvalue()
    return files


def input_names(job: Job) -> dict[int, str]:
    """`id` of each input array of `job` -> the name of its file in `input_files`."""
    return {key: name for key, (_, name) in _names(job).items()}


def arguments(job: Job, *, model: str, inputs: str, outputs: str, timing_kind: str) -> list[str]:
    """Arguments of `run.py`: `model` is a file on the target, `inputs` and `outputs` folders."""
    names = _names(job)
    words = [job.format, model, outputs, "--sha256", job.sha256]
    words += ["--timing-kind", timing_kind]
    words += ["--warmup", str(job.warmup), "--runs", str(job.runs)]
    for call in job.calls:
        words += ["--call", call.entry, *(f"{inputs}/{names[id(a)][1]}" for a in call.inputs)]
    return words


def read_answer(stdout: bytes, *, exit_code: int, stderr: bytes) -> Reply:
    """The reply on the last line of `stdout`; raises `JobRefused` or `TargetCrashed`."""
    line = stdout.rstrip().rsplit(b"\n", 1)[-1]
    try:
        value = parse(line[:MAX_LINE_BYTES])
        if isinstance(value, dict) and "error" in value:
            refusal = from_json(Refusal, value)
            raise JobRefused(
                f"The runner refused: {refusal.error}: {refusal.message}.",
                expected="An artifact of the bundle runs as its manifest describes it.",
                remedy="Run `headtail verify` on the bundle, then export it again.",
            )
        reply = from_json(Reply, value)
        _check_version(reply)
    except SchemaFault as fault:
        raise _crashed(exit_code, stderr, fault) from None
    return reply


def result(reply: Reply, job: Job, *, timing_kind: str, read: Mapping[str, bytes]) -> JobResult:
    """Check a reply against the job and join it with its output files (`read`: name -> bytes)."""
    promised = (job.sha256, timing_kind, len(job.calls))
    if (reply.model_sha256, reply.timing_kind, len(reply.calls)) != promised:
        raise TargetCrashed(
            f"The reply is about model {reply.model_sha256[:16]}, {len(reply.calls)} calls and"
            f" timing {reply.timing_kind!r}.",
            expected=f"It must be about {job.sha256[:16]}, {len(job.calls)} and {timing_kind!r}.",
            remedy="Push the runners of this checkout again.",
        )
    calls = tuple(
        CallResult(tuple(_array(read, name) for name in call.outputs), call.runs_ms)
        for call in reply.calls
    )
    return JobResult(
        runtime=reply.runtime,
        runtime_version=reply.runtime_version,
        machine=reply.machine,
        timing_kind=reply.timing_kind,
        load_ms=reply.load_ms,
        peak_rss_kb=reply.peak_rss_kb,
        calls=calls,
    )


def _names(job: Job) -> dict[int, tuple[Array, str]]:
    # heads and forward take the same golden input: push it once
    unique: dict[int, tuple[Array, str]] = {}
    for call in job.calls:
        for array in call.inputs:
            unique.setdefault(id(array), (array, f"in{len(unique)}.npy"))
    return unique


def _check_version(reply: Reply) -> None:
    if reply.schema_version != SCHEMA_VERSION:
        raise SchemaFault(
            f"Schema version {reply.schema_version} is not {SCHEMA_VERSION}",
            "$.schema_version",
            remedy="Push the runners of this checkout again.",
        )


def _array(read: Mapping[str, bytes], name: str) -> Array:
    try:
        loaded: Array = np.load(io.BytesIO(read[name]), allow_pickle=False)
    except (KeyError, ValueError, EOFError, OSError) as error:
        raise TargetCrashed(
            f"Output file {name!r} did not come back whole ({type(error).__name__}).",
            expected="Every output that a reply names is a .npy file.",
            remedy="Check the free space of the target, then run again.",
        ) from None
    return loaded


def _crashed(exit_code: int, stderr: bytes, fault: SchemaFault) -> TargetCrashed:
    tail = _last_words(stderr.decode(errors="replace").splitlines())
    how = f"by signal {-exit_code}" if exit_code < 0 else f"with exit code {exit_code}"
    return TargetCrashed(
        f"The runner ended {how} and no answer ({fault.what}). It last said: {tail}.",
        expected="A runner ends with one JSON line, whatever happens.",
        remedy="Run the command by hand; a signal 11 on arm64 is a runtime that met a foreign CPU.",
    )


def _last_words(lines: Sequence[str]) -> str:
    spoken = [line.strip() for line in lines if line.strip()]
    return " | ".join(spoken[-3:])[-600:] or "(nothing)"

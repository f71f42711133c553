"""What agent mode is told and what it answers.

A job is `CallsJob` or `BundleJob`, told apart by `kind`; every key must be there and no other.
Paths are taken from the job file's folder. The reply to calls has the fields of the device tests'
runners (`device_tests.protocol`), so that one reader reads both.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.benchmark.matrix import LeftOut
from app.benchmark.records import Run
from app.machine.facts import MachineFacts
from headtail.errors import SchemaFault
from headtail.manifest import Entry
from headtail.strictjson import from_json, parse

__all__ = [
    "SCHEMA_VERSION",
    "BundleJob",
    "BundleReply",
    "CallJob",
    "CallReply",
    "CallsJob",
    "CallsReply",
    "Refusal",
    "Replayed",
    "read_job",
]

SCHEMA_VERSION = 1
MOST = 1_000_000  # runs, threads or seconds; what is more is no job
BUNDLE, CALLS = "bundle", "calls"


@dataclass(frozen=True)
class BundleJob:
    """Check a bundle's every file, replay its golden vectors through each artifact and entry point
    that can run here, then measure if `benchmark`: `warmup` and `runs` of each cell, on each number
    of `threads`, with `cool_down_s` seconds between cells."""

    schema_version: int
    kind: str
    bundle: str
    benchmark: bool
    threads: tuple[int, ...]
    warmup: int
    runs: int
    cool_down_s: float


@dataclass(frozen=True)
class CallJob:
    """One call of one entry point; `inputs` are `.npy` files in the manifest's order."""

    entry: str
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class CallsJob:
    """Load one artifact and call it. `sha256` is what the file must hash to; `entries` is what its
    manifest says of it. `runtime` names one of this platform's, "" takes the first that can."""

    schema_version: int
    kind: str
    format: str
    model: str
    sha256: str
    runtime: str
    accelerator: str
    threads: int
    warmup: int
    runs: int
    entries: tuple[Entry, ...]
    calls: tuple[CallJob, ...]


@dataclass(frozen=True)
class Replayed:
    """The golden vectors through one entry point by one runtime. SNR in dB against fp32 PyTorch,
    the minimum over `samples`; `gate_db` None: reported, not judged. `fault` "" or what is wrong.
    """

    format: str
    precision: str
    entry: str
    runtime: str
    runtime_version: str
    accelerator: str
    timing_kind: str
    samples: int
    snr_db_min: float | None
    gate_db: float | None
    fault: str


@dataclass(frozen=True)
class BundleReply:
    """`good` if something ran, and nothing that ran was wrong."""

    schema_version: int
    kind: str
    good: bool
    bundle_name: str
    bundle_id: str
    app_version: str
    machine: MachineFacts
    replayed: tuple[Replayed, ...]
    left_out: tuple[LeftOut, ...]
    benchmark: Run | None


@dataclass(frozen=True)
class CallReply:
    """Names of the output files beside the result, in order, and the time of each run in ms."""

    outputs: tuple[str, ...]
    runs_ms: tuple[float, ...]


@dataclass(frozen=True)
class CallsReply:
    """See `device_tests.protocol.Reply`. `machine` is the processor's architecture."""

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
    """Instead of a reply: the error's name and its three sentences."""

    schema_version: int
    error: str
    message: str


def read_job(data: bytes) -> BundleJob | CallsJob:
    """The job in `data`; raises `SchemaFault`, which names the place."""
    value = parse(data)
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind == BUNDLE:
        return _current(from_json(BundleJob, value))
    if kind == CALLS:
        return _current(from_json(CallsJob, value))
    raise SchemaFault(
        f"A job of kind {str(kind)[:40]!r} is not known",
        "$.kind",
        remedy=f"Write {BUNDLE!r} or {CALLS!r}.",
    )


def _current(job: BundleJob | CallsJob) -> BundleJob | CallsJob:
    threads = job.threads if isinstance(job, BundleJob) else (job.threads,)
    counts = [job.warmup, job.runs - 1, *(count - 1 for count in threads)]
    pause_s = job.cool_down_s if isinstance(job, BundleJob) else 0.0
    if job.schema_version != SCHEMA_VERSION:
        raise SchemaFault(
            f"Schema version {job.schema_version} is not {SCHEMA_VERSION}",
            "$.schema_version",
            remedy="Write the job for the Headtail that reads it.",
        )
    if not threads or min(*counts, pause_s) < 0 or max(*counts, pause_s) > MOST:
        raise SchemaFault(
            "A count is too small or too large",
            "$",
            remedy=f"At least one run, one thread and no negative number; at most {MOST}.",
        )
    return job

"""Artifacts re-read from disk by their own runtimes, run on real inputs, judged and timed.

One process per artifact, one after the other: latencies are measured while nothing else runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporters.exchange import write_samples
from exporters.processes import run_worker
from exporters.worker import RunRequest
from headtail.errors import ConversionFailed, GateFailed
from headtail.manifest import FORWARD, Entry
from headtail.tensorfile import read_tensors
from headtail.tensors import Array, check_arrays
from quantizers.recipe import Recipe

__all__ = ["Observation", "Protocol", "observe", "size_of"]


@dataclass(frozen=True)
class Protocol:
    """How an artifact is observed: `heads` samples for each head, timed runs, threads.

    `exact` is the float32 file whose operators, attributes and constants it must have (Core ML).
    """

    heads: int
    warmup: int = 3
    runs: int = 20
    threads: int = 1
    exact: Path | None = None


@dataclass(frozen=True)
class Observation:
    """`outputs[entry][sample][output]`, `Timing` by entry point, weight elements by real dtype.

    `compared` says what was compared with the float32 file, "" if there was none; `audit` what the
    file holds.
    """

    outputs: dict[str, list[list[Array]]]
    timings: dict[str, dict[str, Any]]
    load_ms: float
    version: str
    dtypes: dict[str, int]
    compared: str = ""
    audit: str = ""


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(part.stat().st_size for part in path.rglob("*") if part.is_file())


def observe(
    path: Path,
    kind: tuple[str, Recipe],
    entries: Sequence[Entry],
    samples: Sequence[Sequence[Array]],
    *,
    folder: Path,
    protocol: Protocol,
) -> Observation:
    """Run `forward` on all samples and each head on the first few.

    Raises `ConversionFailed` for whatever library or file fails, `GateFailed` for a file that is
    another program than `protocol.exact`, and `TensorMismatch` for samples that the entries do not
    take.
    `kind` is (format, recipe): a file that does not hold the dtypes its precision promises is
    refused before it is run.
    """
    inputs, outputs = folder / "inputs.safetensors", folder / "outputs.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    for sample in samples:
        check_arrays(sample, entries[0].inputs)
    write_samples(inputs, samples, entries[0].inputs)
    heads = min(protocol.heads, len(samples))
    counts = {e.name: len(samples) if e.name == FORWARD else heads for e in entries}
    request = RunRequest(
        str(path),
        *kind,
        tuple(entries),
        str(inputs),
        counts,
        str(outputs),
        protocol.warmup,
        protocol.runs,
        protocol.threads,
        str(protocol.exact) if protocol.exact else "",
    )
    event = run_worker(request, folder)[-1]
    if event["event"] != "ran":
        raise _refusal(event)
    flat = read_tensors(outputs)
    return Observation(
        {e.name: _unflatten(flat, e, counts[e.name]) for e in entries},
        event["timings"],
        event["load_ms"],
        event["version"],
        event["dtypes"],
        event["compared"],
        event["audit"],
    )


def _refusal(event: Mapping[str, Any]) -> GateFailed:
    what = str(event["what"])
    said = {"expected": str(event["expected"]), "remedy": str(event["remedy"])}
    if event.get("error") == GateFailed.__name__:
        return GateFailed(what, **said)
    return ConversionFailed(what, **said, log=str(event["log"]))


def _unflatten(flat: Mapping[str, Array], entry: Entry, count: int) -> list[list[Array]]:
    return [
        [flat[f"{entry.name}.{index}.{spec.name}"] for spec in entry.outputs]
        for index in range(count)
    ]

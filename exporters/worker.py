"""The child process that converts or runs artifacts, so that libraries do not meet.

`python -m exporters.worker REQUEST.json`: the parent (`exporters.processes`) reads one JSON event a
line from what was standard output; everything that converters print goes to the log instead. The
last event is `finished`: without it, the process died.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporters.conversion import PlannedProgram
from exporters.explained import told_in_full
from exporters.lean import plain_imports, reading_only
from exporters.metadata import Metadata
from headtail.errors import ConversionFailed, HeadtailError, UnknownName
from headtail.manifest import FORWARD, Coverage, Entry
from headtail.strictjson import from_json, parse, to_json
from headtail.tensors import TensorSpec
from quantizers.recipe import Recipe

if TYPE_CHECKING:
    from exporters.diagnosis import Finding
    from exporters.entries import EntryPoints

__all__ = ["FINAL_EVENT", "ConvertRequest", "ForeignRequest", "RunRequest", "main"]

FINAL_EVENT = "finished"
Emit = Callable[[dict[str, Any]], None]
Explain = Callable[[ConversionFailed], ConversionFailed]


@dataclasses.dataclass(frozen=True)
class ConvertRequest:
    """Write one format in several precisions; one `converted` or `failed` event for each.

    `program` is the captured model as a `.pt2` (made by this machine a moment ago); `heads` maps
    entry point -> names of the graph's values that it returns. `planned` are the precisions that
    have programs of their own, by the names of their recipes.
    """

    format: str
    recipes: tuple[Recipe, ...]
    destinations: tuple[str, ...]
    program: str
    heads: dict[str, tuple[str, ...]]
    inputs: tuple[TensorSpec, ...]
    calibration: str | None
    scratch: str
    metadata: Metadata | None = None
    planned: dict[str, PlannedProgram] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ForeignRequest:
    """Write one format of a SavedModel in several precisions; events as for `ConvertRequest`.

    TensorFlow's own outputs for `samples` go to `answers`, keyed `<sample>.<output name>`, unless
    it is empty.
    """

    format: str
    precisions: tuple[str, ...]
    destinations: tuple[str, ...]
    path: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    samples: str
    calibration: str
    answers: str
    scratch: str


@dataclasses.dataclass(frozen=True)
class RunRequest:
    """Audit one artifact, load it from disk with its runtime, run and time its entry points.

    `samples` maps entry point -> how many of the samples in `inputs` to run. Outputs go to
    `outputs` as a tensor file keyed `<entry>.<sample>.<tensor name>`. `exact` is empty, or the
    float32 package that a Core ML one of another precision is compared with.
    """

    path: str
    format: str
    recipe: Recipe
    entries: tuple[Entry, ...]
    inputs: str
    samples: dict[str, int]
    outputs: str
    warmup: int
    runs: int
    threads: int
    exact: str = ""


def main(argv: list[str]) -> int:
    """Run one request; the exit code is 0 even if a precision failed, since events say so."""
    emit = _take_stdout()
    try:
        body = parse(Path(argv[0]).read_bytes())
        kind = body.pop("kind", "")
        if kind not in _KINDS:
            raise UnknownName("kind of request", kind, _KINDS)
        _KINDS[kind](body, emit)
    except Exception as error:  # a library may raise anything; the parent reports it
        emit({"event": "error", **_told(error)})
    emit({"event": FINAL_EVENT})
    return 0


def _take_stdout() -> Emit:
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # C++ libraries print to descriptor 1 whatever sys.stdout is

    def emit(event: dict[str, Any]) -> None:
        for stream in (sys.stdout, sys.stderr):  # the parent reads the log when it gets the event
            stream.flush()
        events.write(json.dumps(event) + "\n")

    return emit


def _told(error: Exception, explain: Explain | None = None) -> dict[str, Any]:
    """The error for the parent, a library's one explained; its traceback goes to the log."""
    traceback.print_exc()
    if isinstance(error, HeadtailError):
        return error.to_json()
    known = _foreign(error)
    return (explain(known) if explain else known).to_json()


def _foreign(error: Exception) -> ConversionFailed:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return ConversionFailed(
        f"{type(error).__name__}: {(lines or ['(no message)'])[0][:400]}",
        expected="The library takes every operator of the model.",
        remedy="Read the log below; rewrite the named operator, or leave this format out.",
    )


def _convert(body: dict[str, Any], emit: Emit) -> None:
    request = from_json(ConvertRequest, body)
    plain_imports(request.format)

    import torch

    from exporters.target import Job, target
    from quantizers.plan import Plan

    torch.set_num_threads(1)
    scratch = Path(request.scratch)
    scratch.mkdir(parents=True, exist_ok=True)
    whole = _Program.read(request.format, request.program, request.heads)
    calibration = Path(request.calibration) if request.calibration else None
    explain = _explainer(request.format, whole.captured)
    write = target(request.format).writer()
    for recipe, destination in zip(request.recipes, request.destinations, strict=True):
        own, plan, program = request.planned.get(recipe.name), Plan(recipe), whole
        if own:
            plan = Plan.read(Path(own.plan))
            program = _Program.read(request.format, own.program, own.heads)
        given = (plan, program.entries, program.captured, request.inputs, calibration)
        job = Job(*given, Path(destination), scratch, request.metadata)
        _each(recipe.name, partial(write, job), program.told, emit, explain)


@dataclasses.dataclass(frozen=True)
class _Program:
    """Entry points as captured, as prepared, and what a precision's event says of that."""

    captured: EntryPoints
    entries: EntryPoints
    told: dict[str, Any]

    @classmethod
    def read(cls, format_name: str, path: str, heads: Mapping[str, tuple[str, ...]]) -> _Program:
        from exporters.entries import EntryPoints

        captured = EntryPoints.read(Path(path), heads)
        entries, prepared = captured.prepared(format_name)
        told = {
            "rewrites": {done.name: done.sites for done in prepared.applied},
            "undone": {undone.name: undone.reason for undone in prepared.undone},
        }
        return cls(captured, entries, told)


def _explainer(format_name: str, captured: EntryPoints) -> Explain:
    """Looks every operator up, at most once however many precisions fail."""

    @cache
    def findings() -> Sequence[Finding]:
        from exporters.diagnosis import explain

        return explain(captured.graphs[FORWARD], format_name, captured.example)

    return lambda error: told_in_full(error, format_name, findings)


def _each(
    precision: str,
    write: Callable[[], Coverage | None],
    told: dict[str, Any],
    emit: Emit,
    explain: Explain | None = None,
) -> None:
    """One file; one precision that fails must not take the others with it."""
    emit({"event": "started", "precision": precision})
    start = time.perf_counter()
    try:
        coverage = write()
    except Exception as error:  # whatever a library raises
        emit({"event": "failed", "precision": precision, **_told(error, explain)})
        return
    seconds, shown = time.perf_counter() - start, to_json(coverage) if coverage else None
    emit(
        {"event": "converted", "precision": precision, "seconds": seconds, "coverage": shown} | told
    )


def _foreign_convert(body: dict[str, Any], emit: Emit) -> None:
    request = from_json(ForeignRequest, body)

    from exporters import foreign_worker
    from exporters.exchange import write_samples

    path, scratch = Path(request.path), Path(request.scratch)
    scratch.mkdir(parents=True, exist_ok=True)
    if request.answers:
        said = foreign_worker.answers(path, request.inputs, request.outputs, Path(request.samples))
        write_samples(Path(request.answers), said, request.outputs)
    for precision, destination in zip(request.precisions, request.destinations, strict=True):
        given = (path, request.inputs, (request.format, precision), Path(destination), scratch)
        write = partial(foreign_worker.write, *given, Path(request.calibration))
        _each(precision, write, {"rewrites": {}, "undone": {}}, emit)


def _run(body: dict[str, Any], emit: Emit) -> None:
    emit({"event": "ran", **_observed(from_json(RunRequest, body))})


def _observed(request: RunRequest) -> Mapping[str, Any]:
    reading_only(request.format)

    from exporters.exchange import read_samples
    from exporters.runtimes import runtime_for
    from headtail.tensorfile import write_tensors
    from headtail.timing import measure
    from quantizers.audit import audit

    found = audit(Path(request.path), request.format)
    found.check(request.recipe)
    compared = _compared(request) if request.exact else ""
    runtime = runtime_for(request.format)
    entries = {entry.name: (entry.inputs, entry.outputs) for entry in request.entries}
    start = time.perf_counter()
    session = runtime.load(Path(request.path), entries=entries, threads=request.threads)
    load_ms = (time.perf_counter() - start) * 1e3
    samples = read_samples(Path(request.inputs), request.entries[0].inputs)
    outputs = {}
    timings = {}
    for entry in request.entries:
        for index, sample in enumerate(samples[: request.samples[entry.name]]):
            for spec, array in zip(entry.outputs, session.run(entry.name, sample), strict=True):
                outputs[f"{entry.name}.{index}.{spec.name}"] = array
        if request.runs:
            timing = measure(
                lambda name=entry.name: session.run(name, samples[0]),  # type: ignore[misc]  # mypy cannot infer the default's type
                kind=runtime.timing_kind,
                warmup=request.warmup,
                runs=request.runs,
            )
            timings[entry.name] = to_json(timing)
    write_tensors(Path(request.outputs), outputs)
    session.close()
    return {
        "load_ms": load_ms,
        "timings": timings,
        "version": runtime.probe().version,
        "dtypes": dict(found.weight_elements),
        "audit": found.sentence(request.recipe),
        "compared": compared,
    }


def _compared(request: RunRequest) -> str:
    from exporters.mil.comparison import compare

    found = compare(Path(request.exact), Path(request.path), precision=request.recipe.name)
    found.check()
    return found.said


_KINDS: dict[str, Callable[[dict[str, Any], Emit], None]] = {
    "convert": _convert,
    "foreign": _foreign_convert,
    "run": _run,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

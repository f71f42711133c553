"""A whole bundle: every file checked, golden vectors through all that runs here, a benchmark."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from app.agent.schema import BUNDLE, SCHEMA_VERSION, BundleJob, BundleReply, Replayed
from app.benchmark.bench import Bench, Course, Survey
from app.benchmark.matrix import Cell
from app.benchmark.measure import Effort, judged, load
from app.benchmark.records import Run
from app.machine.facts import Machine
from headtail import __version__
from headtail.bundle import open_bundle
from headtail.errors import HeadtailError, RuntimeUnavailable
from headtail.golden import GoldenSet
from headtail.manifest import Entry
from headtail.runtimes.base import CPU, Runtime, Session

__all__ = ["replay"]


def replay(
    job: BundleJob,
    runtimes: Callable[[], Sequence[Runtime]],
    machine: Machine,
    *,
    where: Callable[[str], Path],
) -> BundleReply:
    """Do the job. Raises what `open_bundle` does, and `RuntimeUnavailable` if nothing runs here."""
    bundle = open_bundle(where(job.bundle))
    bench = Bench(runtimes, machine)
    survey = bench.survey([bundle.path], threads=job.threads)
    if not survey.matrix.cells:
        raise _nothing(bundle.manifest.name, survey)
    # an entry point gives the same on any number of threads; that they do is the benchmark's check
    cells, first = survey.matrix.cells, job.threads[0]
    once = [cell for cell in cells if cell.accelerator != CPU or cell.threads == first]
    by_name = {runtime.name: runtime for runtime in runtimes()}
    golden = GoldenSet(bundle)
    replayed = [row for cell in once for row in _replayed(cell, golden, by_name[cell.runtime])]
    run = _measured(job, bench, survey) if job.benchmark else None
    faults = [row.fault for row in replayed] + [cell.fault for cell in (run.cells if run else ())]
    return BundleReply(
        schema_version=SCHEMA_VERSION,
        kind=BUNDLE,
        good=not any(faults),
        bundle_name=bundle.manifest.name,
        bundle_id=bundle.manifest.bundle_id,
        app_version=__version__,
        machine=survey.machine,
        replayed=tuple(replayed),
        left_out=survey.matrix.left_out,
        benchmark=run,
    )


def _measured(job: BundleJob, bench: Bench, survey: Survey) -> Run:
    effort = Effort(warmup=job.warmup, runs=job.runs)
    return bench.run(
        survey, survey.matrix.cells, Course(effort, job.cool_down_s, threading.Event())
    )


def _replayed(cell: Cell, golden: GoldenSet, runtime: Runtime) -> list[Replayed]:
    entries = golden.bundle.manifest.artifact(cell.format, cell.precision).entries
    try:
        session = load(cell, golden.bundle, runtime)
    except Exception as error:  # a file that a runtime refuses is a finding about each entry point
        return [_row(cell, entry, runtime, fault=_words(error)) for entry in entries]
    try:
        return [_entry(session, cell, entry, golden, runtime) for entry in entries]
    finally:
        session.close()


def _entry(
    session: Session, cell: Cell, entry: Entry, golden: GoldenSet, runtime: Runtime
) -> Replayed:
    artifact = golden.bundle.manifest.artifact(cell.format, cell.precision)
    try:
        verdict = judged(
            session,
            golden,
            artifact,
            entry,
            timing_kind=runtime.timing_kind,
            accelerator=cell.accelerator,
        )
    except Exception as error:  # the other entry points are replayed all the same
        return _row(cell, entry, runtime, fault=_words(error))
    return _row(
        cell,
        entry,
        runtime,
        fault=verdict.fault,
        found=(verdict.samples, verdict.snr_db_min, verdict.gate_db),
    )


def _row(
    cell: Cell,
    entry: Entry,
    runtime: Runtime,
    *,
    fault: str,
    found: tuple[int, float | None, float | None] = (0, None, None),
) -> Replayed:
    samples, snr_db_min, gate_db = found
    return Replayed(
        format=cell.format,
        precision=cell.precision,
        entry=entry.name,
        runtime=runtime.name,
        runtime_version=runtime.probe().version,
        accelerator=cell.accelerator,
        timing_kind=runtime.timing_kind,
        samples=samples,
        snr_db_min=snr_db_min,
        gate_db=gate_db,
        fault=fault,
    )


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, HeadtailError) else f"{type(error).__name__}: {error}"


def _nothing(name: str, survey: Survey) -> RuntimeUnavailable:
    return RuntimeUnavailable(
        f"Nothing of {name} can run here.",
        expected="; ".join(f"{left.name}: {left.reason}" for left in survey.matrix.left_out)
        or "The bundle holds no artifact.",
        remedy="Install a runtime named above, or export the bundle for one that is here.",
    )

"""One artifact, loaded once by one of the app's runtimes, and the calls to make of it.

The model's hash is checked before a runtime sees a byte of it, so that a file cut short on its way
ends in a sentence and not in a crash.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from app.agent.schema import SCHEMA_VERSION, CallJob, CallReply, CallsJob, CallsReply
from headtail.bundle.reading import sha256_of
from headtail.errors import (
    IntegrityFault,
    RuntimeUnavailable,
    TensorMismatch,
    UnknownName,
    UsageFault,
)
from headtail.runtimes.base import Runtime, Session
from headtail.runtimes.memory import resident_bytes
from headtail.tensors import Array, TensorSpec

__all__ = ["make_calls"]

Where = Callable[[str], Path]  # a path of the job as a path of this machine


def make_calls(
    job: CallsJob, runtimes: Sequence[Runtime], *, where: Where, outputs: Path
) -> CallsReply:
    """Do the job; output arrays go to `outputs` as `<call>.<output>.npy`."""
    model = where(job.model)
    _check_model(model, job.sha256)
    runtime = _runtime_for(job, runtimes)
    started = time.perf_counter()
    session = runtime.load(
        model,
        entries={entry.name: (entry.inputs, entry.outputs) for entry in job.entries},
        threads=job.threads,
        accelerator=job.accelerator,
    )
    load_ms = _since(started)
    try:
        calls = [
            _called(session, job, call, prefix=f"{number}.", places=(where, outputs))
            for number, call in enumerate(job.calls)
        ]
    finally:
        session.close()
    return CallsReply(
        schema_version=SCHEMA_VERSION,
        runtime=runtime.name,
        runtime_version=runtime.probe().version,
        machine=platform.machine(),
        model_sha256=job.sha256,
        timing_kind=runtime.timing_kind,
        load_ms=load_ms,
        calls=tuple(calls),
        peak_rss_kb=_peak_rss_kb(),
    )


def _check_model(model: Path, sha256: str) -> None:
    if not model.is_file():
        raise UsageFault(
            f"{model.name} is not a file.",
            expected="A job of calls names one file; an .mlpackage goes in a job of a bundle.",
            remedy="Check the path in the job.",
        )
    with model.open("rb") as file:
        digest = sha256_of(file)
    if digest != sha256:
        raise IntegrityFault(
            f"{model.name} has {model.stat().st_size} bytes and SHA-256 {digest}.",
            file=model.name,
            expected=f"The job promises SHA-256 {sha256}.",
            remedy="Send the file again.",
        )


def _runtime_for(job: CallsJob, runtimes: Sequence[Runtime]) -> Runtime:
    named = [runtime for runtime in runtimes if job.runtime in ("", runtime.name)]
    if not named:
        raise UnknownName("runtime", job.runtime, [runtime.name for runtime in runtimes])
    able = [runtime for runtime in named if runtime.format == job.format]
    probes = [(runtime, runtime.probe()) for runtime in able]
    for runtime, probe in probes:
        if probe.available:
            return runtime
    raise RuntimeUnavailable(
        f"Nothing here runs {job.format}.",
        expected="; ".join(f"{runtime.name}: {probe.reason}" for runtime, probe in probes)
        or f"This platform has a runtime for {job.format}.",
        remedy="Install a runtime named above, or send the job elsewhere.",
    )


def _called(
    session: Session, job: CallsJob, call: CallJob, *, prefix: str, places: tuple[Where, Path]
) -> CallReply:
    where, outputs = places
    arrays = [_array(where(name)) for name in call.inputs]
    _check_inputs(call.entry, arrays, session.inputs(call.entry))
    for _ in range(job.warmup):
        session.run(call.entry, arrays)
    runs_ms: list[float] = []
    results: list[Array] = []
    for number in range(job.runs):
        started = time.perf_counter()
        result = session.run(call.entry, arrays)
        runs_ms.append(_since(started))
        results = result if number == 0 else results
    names = [f"{prefix}{number}.npy" for number in range(len(results))]
    for name, array in zip(names, results, strict=True):
        np.save(outputs / name, array, allow_pickle=False)
    return CallReply(tuple(names), tuple(runs_ms))


def _array(path: Path) -> Array:
    try:
        # not np.load, which takes archives of arrays as well, and closes none
        with path.open("rb") as file:
            array: Array = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise UsageFault(
            f"{path.name} cannot be read ({type(error).__name__}).",
            expected="Every input is a .npy file of numbers.",
            remedy="Send the file again.",
        ) from None
    return array


def _check_inputs(entry: str, arrays: Sequence[Array], specs: Sequence[TensorSpec]) -> None:
    if len(arrays) != len(specs):
        raise TensorMismatch(
            f"{len(arrays)} inputs were given.",
            expected=f"{entry} takes {len(specs)}: {', '.join(map(str, specs))}.",
            remedy="Name one file per input, in that order.",
        )
    for array, spec in zip(arrays, specs, strict=True):
        if array.shape != spec.shape or array.dtype != spec.numpy_dtype:
            raise TensorMismatch(
                f"An input of {entry} has shape {list(array.shape)} and dtype {array.dtype}.",
                expected=f"{spec.name} has shape {list(spec.shape)} and dtype {spec.numpy_dtype}.",
                remedy="Send the tensor as the manifest describes it.",
            )


def _peak_rss_kb() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return (resident_bytes() or 0) // 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if platform.system() == "Darwin" else peak  # bytes there, KiB elsewhere


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1e3

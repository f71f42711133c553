"""From programs to artifact files: formats side by side, each converter in a process of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from exporters.conversion import Captures, Conversion, Failure
from exporters.exchange import write_samples
from exporters.kept import Kept
from exporters.processes import Limits, run_worker
from exporters.progress import Progress
from exporters.target import TARGETS, target
from exporters.worker import ConvertRequest
from headtail.errors import UsageFault
from headtail.manifest import Coverage
from headtail.strictjson import from_json
from headtail.tensors import TensorSpec
from quantizers.calibration import CalibrationSet, require_calibration
from quantizers.recipe import DEFAULTS, RECIPES, Recipe, recipe
from quantizers.support import needs_plan, refusal, remark, require, supported

__all__ = [
    "ONLY_BY_NAME",
    "Captures",
    "Conversion",
    "Failure",
    "convert_all",
    "outcome",
    "plan_conversions",
    "save_calibration",
    "tell",
]

# XNNPACK multiplies with 8-bit weights in pointwise convolutions and linear layers only, and slower
# than in float32: a smaller file of networks made of those, for who asks for it.
ONLY_BY_NAME = ("executorch", "w8")
# From the slowest converter to the quickest: with fewer cores than formats the slow one starts.
_ORDER = ("executorch", "litert", "coreml")


def plan_conversions(
    formats: Sequence[str],
    precisions: Sequence[str],
    calibration: CalibrationSet | None,
    *,
    solved: bool = True,
    known: Mapping[str, Recipe] = RECIPES,
) -> tuple[list[tuple[str, str]], list[str]]:
    """Which (format, precision) pairs to write, and a remark for each that was asked and is not.

    Without precisions: all that the formats honour and the calibration set allows. With them: each
    must be one of `known` and honoured by at least one of the formats, else `UsageFault` says who
    can. If weights cannot be `solved` for, what a format's own tool cannot round is left out.
    """
    if not formats:
        raise UsageFault(
            "No format was asked for.",
            expected=f"At least one of: {', '.join(TARGETS)}.",
            remedy="Name a format, or leave the choice out for all of them.",
        )
    formats, precisions = tuple(dict.fromkeys(formats)), tuple(dict.fromkeys(precisions))
    for name in formats:
        target(name)
    for precision in precisions:
        asked = recipe(precision, known)
        if not any(refusal(f, asked) is None for f in formats):
            require(formats[0], asked)
        require_calibration(asked, calibration)
    wanted = precisions or [p for p in DEFAULTS if _calibrated(p, calibration)]
    honoured = {(f, p): refusal(f, known[p]) is None for f in formats for p in wanted}
    pairs = [pair for pair, held in honoured.items() if held]
    if not precisions:
        pairs = [pair for pair in pairs if pair != ONLY_BY_NAME]
    unsolved = [pair for pair in pairs if not solved and needs_plan(pair[0], known[pair[1]])]
    pairs = [pair for pair in pairs if pair not in unsolved]
    remarks = [
        f"{f} does not honour {p} (it honours {', '.join(supported(f))})"
        for (f, p), held in honoured.items()
        if precisions and not held
    ]
    remarks += [f"{f} {p} is left out: its program cannot be solved for" for f, p in unsolved]
    told = {(f, p): remark(f, known[p]) for f, p in pairs if p in precisions}
    remarks += [f"{f} {p}: {said}" for (f, p), said in told.items() if said]
    if not precisions and calibration is None:
        remarks.append("no calibration inputs: precisions with static activations are left out")
    return pairs, remarks


def _calibrated(precision: str, calibration: CalibrationSet | None) -> bool:
    return calibration is not None or not recipe(precision).needs_calibration


def save_calibration(
    calibration: CalibrationSet | None, inputs: Sequence[TensorSpec], folder: Path
) -> Path | None:
    """The calibration inputs as a file for the converters."""
    if calibration is None:
        return None
    path = folder / "calibration.safetensors"
    write_samples(path, calibration.samples, inputs)
    return path


def convert_all(  # noqa: PLR0913  # what a conversion needs, none of it optional
    pairs: Sequence[tuple[str, str]],
    captures: Captures,
    *,
    name: str,
    folder: Path,
    progress: Progress,
    limits: Limits,
    cancel: threading.Event,
    cache: Kept,
) -> tuple[list[Conversion], list[Failure]]:
    """Convert every pair; a format that fails leaves the others alone."""

    def one(format_name: str) -> tuple[list[Conversion], list[Failure]]:
        suffix = target(format_name).suffix
        paths = {
            captures.recipe(p): folder / format_name / f"{name}.{p}.{suffix}"
            for f, p in pairs
            if f == format_name
        }
        (folder / format_name).mkdir(exist_ok=True)
        found = cache.take(captures, format_name, paths)
        for conversion in found:
            progress.note(f"{format_name} {conversion.precision} taken from the cache")
        wanted = {r: path for r, path in paths.items() if r not in {c.recipe for c in found}}
        if not wanted:
            return found, []
        request = ConvertRequest(
            format_name,
            tuple(wanted),
            tuple(map(str, wanted.values())),
            str(captures.program),
            dict(captures.heads),
            captures.inputs,
            str(captures.calibration) if captures.calibration else None,
            str(folder / format_name / "scratch"),
            captures.metadata,
            {r.name: captures.planned[r.name] for r in wanted if r.name in captures.planned},
        )
        events = run_worker(
            request,
            folder / format_name,
            on_event=lambda e: tell(progress, format_name, e),
            limits=limits,
            cancel=cancel,
        )
        done, failed = outcome(format_name, wanted, events)
        cache.keep(captures, done)
        order = list(paths)
        return sorted([*found, *done], key=lambda one: order.index(one.recipe)), failed

    formats = sorted({f for f, _ in pairs}, key=_ORDER.index)
    with ThreadPoolExecutor(max_workers=min(len(formats), os.cpu_count() or 1)) as pool:
        outcomes = list(pool.map(one, formats))
    return [c for done, _ in outcomes for c in done], [f for _, bad in outcomes for f in bad]


def tell(progress: Progress, format_name: str, event: dict[str, Any]) -> None:
    """A worker's event as a note, if there is something to say."""
    if event["event"] == "converted":
        progress.note(f"{format_name} {event['precision']} written in {event['seconds']:.1f} s")
        for name, reason in event["undone"].items():
            progress.note(f"{format_name}: rewrite {name} taken back ({reason})")
    elif event["event"] in ("failed", "error"):
        what = " ".join(filter(None, [format_name, event.get("precision")]))
        progress.note(f"{what} failed: {event['what']}")


def outcome(
    format_name: str, paths: Mapping[Recipe, Path], events: Sequence[dict[str, Any]]
) -> tuple[list[Conversion], list[Failure]]:
    """What became of each of `paths` (file by recipe), by the events of its worker."""
    done = {e["precision"]: e for e in events if e["event"] == "converted"}
    failed = {e["precision"]: e for e in events if e["event"] == "failed"}
    crash = next((e for e in events if e["event"] == "error"), None)
    failures = []
    written = []
    for asked, path in paths.items():
        if asked.name in done:
            written.append(_conversion(format_name, asked, path, done[asked.name]))
            continue
        event = failed.get(asked.name) or crash or events[-1]
        failures.append(Failure(format_name, asked.name, str(event["what"]), event["log"]))
    return written, failures


def _conversion(
    format_name: str, asked: Recipe, path: Path, event: Mapping[str, Any]
) -> Conversion:
    coverage = event["coverage"]
    return Conversion(
        format_name,
        asked,
        path,
        event["rewrites"],
        from_json(Coverage, coverage) if coverage else None,
        round(event["seconds"], 3),
        event["peak_rss_bytes"],
    )

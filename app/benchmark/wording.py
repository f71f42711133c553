"""The words and numbers of the Benchmark screen, from its state; no layout, no kivy."""

from __future__ import annotations

import math

from app.benchmark.compare import Change
from app.benchmark.matrix import Cell, LeftOut
from app.benchmark.measure import Measured
from app.benchmark.records import Run
from app.benchmark.state import BenchmarkState, Phase, Progress
from app.figures import RUNTIME_NAMES, byte_size, milliseconds
from app.machine.facts import NOT_TOLD, Condition, heat_note, in_words

__all__ = [
    "KINDS",
    "artifact_name",
    "change_words",
    "choice_name",
    "compared_words",
    "details",
    "heat_words",
    "hint",
    "left_out_words",
    "notes_of",
    "plan_words",
    "progress_words",
    "results_words",
    "subtitle",
    "threads_name",
    "when",
]

KINDS = {
    "host": "Latency on this computer",
    "device": "Latency on this device",
    "emulated": "Emulated: it runs; how fast a phone is this does not say",
}


def artifact_name(artifact: str) -> str:
    """`LiteRT fp16` for `litert.fp16`."""
    kind, _, precision = artifact.partition(".")
    return f"{RUNTIME_NAMES.get(kind, kind)} {precision}"


def threads_name(threads: int) -> str:
    """`1 thread`, `2 threads`."""
    return f"{threads} thread{'s' if threads != 1 else ''}"


def subtitle(state: BenchmarkState) -> str:
    """The line under the page's title: the machine, and how it is now."""
    if state.machine is None or state.condition is None:
        return "How fast each artifact is, here"
    machine = state.machine.device or state.machine.cpu or state.machine.architecture
    return f"{machine}  \u00b7  {in_words(state.condition)}"


def plan_words(state: BenchmarkState) -> str:
    """What would be measured, or why nothing can be."""
    if state.phase is Phase.LOOKING:
        return "Looking at what can run here"
    if state.phase is Phase.EMPTY:
        return "No model to measure yet"
    count = len(state.planned)
    if not state.matrix.cells:
        return "Nothing of this can run here"
    if not count:
        return "Nothing fits this choice"
    return f"{count} measurement{'s' if count != 1 else ''}, {state.runs} runs each"


def choice_name(axis: str, value: str) -> str:
    """A chip's text."""
    return artifact_name(value) if axis == "artifact" else value


def hint(state: BenchmarkState) -> str:
    """The small line under `plan_words`: what to do next, or what will happen."""
    if state.phase is Phase.EMPTY:
        return "Open a bundle, or download one on the Models page."
    if state.phase is Phase.READY and state.planned:
        return "Each output is checked before it is timed. Live rests meanwhile."
    return ""


def results_words(state: BenchmarkState) -> str:
    """The table's heading: what kind of time it holds, and when it was taken."""
    kinds = sorted({m.timing.kind for m in _measured(state) if m.timing is not None})
    said = ". ".join(KINDS[kind] for kind in kinds) or "Results"
    return said if _measured(state) else ""


def compared_words(state: BenchmarkState) -> str:
    """What the changes refer to."""
    taken = when(state.measured_at) if state.measured_at else ""
    if not state.compared_with:
        return taken
    return f"{taken}, compared with {when(state.compared_with)}; differences within the noise: same"


def progress_words(progress: Progress | None) -> str:
    """`3 of 12: LiteRT fp16, litert, 2 threads; about 40 s left`."""
    if progress is None:
        return ""
    if progress.doing is None:
        return f"{progress.done} of {progress.total}"
    what = _cell_name(progress.doing)
    left = progress.remaining_s
    rest = "" if left is None else f"  \u00b7  about {_seconds(left)} left"
    return f"{progress.done + 1} of {progress.total}: {what}{rest}"


def change_words(change: Change | None) -> str:
    """`1.42x faster`, `1.10x slower`, or `same` where the noise hides it; "" without a last run."""
    if change is None:
        return ""
    if not change.real:
        return "same"
    factor = max(change.ratio, 1 / change.ratio)
    return f"{factor:.2f}x {'faster' if change.ratio < 1 else 'slower'}"


def details(measured: Measured) -> str:
    """Everything but the p50 in one line."""
    if measured.timing is None:
        return measured.fault
    timing = measured.timing
    figures = {
        "p90": timing.p90_ms,
        "p99": timing.p99_ms,
        "mean": timing.trimmed_mean_ms,
        "min": timing.min_ms,
        "first": measured.first_ms,
        "load": measured.load_ms,
    }
    parts = [f"{name} {milliseconds(ms)}" for name, ms in figures.items() if ms is not None]
    if measured.memory_bytes is not None:
        parts.append(byte_size(measured.memory_bytes))
    # a figure is not torn from its unit
    return "  \u00b7  ".join(part.replace(" ", "\u00a0") for part in parts)


def left_out_words(left_out: LeftOut) -> str:
    """One line for what cannot run here."""
    names = [RUNTIME_NAMES.get(word, word) for word in left_out.name.split()]
    return f"{left_out.bundle}, {' '.join(names)}: {left_out.reason}"


def notes_of(run: Run) -> tuple[str, ...]:
    """Sentences about a run: what went wrong, heat, battery, and that it was stopped."""
    conditions = [c for m in run.cells for c in (m.before, m.after)]
    failed = sum(1 for m in run.cells if m.fault)
    notes = [
        "" if run.complete else "Stopped before the end; what is in the table was measured.",
        f"{failed} of {len(run.cells)} could not be measured; the table says why."
        if failed
        else "",
        heat_note(conditions),
        _battery_note(conditions),
    ]
    return tuple(note for note in notes if note)


def heat_words(run: Run) -> str:
    """How the machine was before the first measurement and after the last."""
    if not run.cells:
        return NOT_TOLD
    before, after = in_words(run.cells[0].before), in_words(run.cells[-1].after)
    return before if before == after else f"before: {before}; after: {after}"


def when(started_at: str) -> str:
    """`2026-11-22 00:45 UTC`."""
    return f"{started_at[:10]} {started_at[11:16]} UTC"


def _measured(state: BenchmarkState) -> list[Measured]:
    return [row.measured for row in state.rows]


def _battery_note(conditions: list[Condition]) -> str:
    told = [c.battery_percent for c in conditions if c.battery_percent is not None]
    if not told or any(c.charging for c in conditions):
        return ""
    if told[0] == told[-1]:
        return f"On battery, {told[-1]} %."
    return f"On battery, which went from {told[0]} % to {told[-1]} %."


def _seconds(value: float) -> str:
    return f"{math.ceil(value)} s" if value < 90 else f"{math.ceil(value / 60)} min"


def _cell_name(cell: Cell) -> str:
    return f"{artifact_name(cell.artifact)}, {cell.backend}, {threads_name(cell.threads)}"

"""One row of the failure matrix: frames through the real client while something is done to it."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headtail.offload.engine import Answer, OffloadEngine
from headtail.tensors import Array

__all__ = ["Row", "SlowDevice", "Watch", "split_first"]

ALLOWANCE_MS = 250.0  # of a machine with two cores that others use too: threads wait for their turn
CALM_S = 40.0  # until an engine has found its route, or found it again


class SlowDevice:
    """A session that computes everything `factor` times: a phone slower than this machine."""

    def __init__(self, session: Any, factor: int) -> None:
        self._session = session
        self._factor = factor

    def entry_points(self) -> Sequence[str]:
        return list(self._session.entry_points())

    def run(self, entry: str, inputs: Sequence[Array]) -> list[Array]:
        for _ in range(self._factor - 1):
            self._session.run(entry, inputs)
        outputs: list[Array] = self._session.run(entry, inputs)
        return outputs

    def close(self) -> None:
        self._session.close()

    def inputs(self, entry: str) -> Any:
        return self._session.inputs(entry)

    def outputs(self, entry: str) -> Any:
        return self._session.outputs(entry)

    def memory_bytes(self) -> int | None:
        return None


@dataclass
class Row:
    """What became of the frames since a fault began; times in ms.

    `changed_frames` and `changed_ms` are the first decision for another route: how many frames had
    been decided before it, and when it was made. `bound_ms` is the deadline, the slowest local run
    of this row and `ALLOWANCE_MS`.
    """

    fault: str
    frames: int = 0
    wrong: int = 0
    late: int = 0
    worst_ms: float = 0.0
    median_ms: float = 0.0
    local_ms: float = 0.0
    bound_ms: float = 0.0
    changed_frames: int | None = None
    changed_ms: float | None = None
    healed_ms: float | None = None
    where: dict[str, int] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Is it as the matrix asks? Whether it heals is a row's own matter."""
        changed = self.changed_frames is not None and self.changed_ms is not None
        at_once = changed and (self.changed_frames <= 3 or self.changed_ms <= 1000)  # type: ignore[operator]  # checked by `changed`
        return self.frames > 0 and not self.wrong and not self.late and at_once


class Watch:
    """Asks an engine for the same inputs in turn and knows the model's own answers to them.

    `tolerance` is how far an output may be from the model's own, by the codec.
    """

    def __init__(
        self,
        engine: OffloadEngine,
        inputs: Sequence[Sequence[Array]],
        own: Sequence[Sequence[Array]],
        *,
        tolerance: float,
        deadline_ms: float,
    ) -> None:
        self.engine = engine
        self._inputs, self._own, self._tolerance = inputs, own, tolerance
        self._deadline_ms = deadline_ms
        self._turn = 0

    def frame(self) -> tuple[Answer, float, bool]:
        """One frame: its answer, what it took by our own clock, whether it is this model's."""
        place = self._turn % len(self._inputs)
        self._turn += 1
        started = time.perf_counter()
        answer = self.engine.answer(self._inputs[place])
        took_ms = (time.perf_counter() - started) * 1e3
        return answer, took_ms, self._right(answer.outputs, self._own[place])

    def row(self, fault: str, *, seconds: float) -> Row:
        """Frames without a pause for so long; the fault is there already."""
        found, began = Row(fault), time.perf_counter()
        took, local, where = [], [self.engine.status().local_ms], Counter[str]()
        while time.perf_counter() - began < seconds:
            answer, ms, right = self.frame()
            if found.changed_ms is None and answer.decision.where == "local":
                found.changed_frames = found.frames
                found.changed_ms = (time.perf_counter() - began) * 1e3 - ms
            found.frames += 1
            found.wrong += not right
            took.append(ms)
            where[answer.where] += 1
            if answer.local_ms:
                local.append(answer.local_ms)
            if answer.reason and answer.reason not in found.reasons:
                found.reasons = [*found.reasons, answer.reason][:3]
        found.local_ms, found.where = max(local), dict(where)
        found.bound_ms = self._deadline_ms + found.local_ms + ALLOWANCE_MS
        found.worst_ms, found.median_ms = max(took), statistics.median(took)
        found.late = sum(ms > found.bound_ms for ms in took)
        return found

    def until_split(self) -> float:
        """Milliseconds until frames are split again; every one before must be right."""
        return self.until(lambda answer: answer.where == "split", "never split")

    def until(self, reached: Callable[[Answer], bool], otherwise: str) -> float:
        """Milliseconds of right answers until `reached` of one."""
        began = time.perf_counter()
        while time.perf_counter() - began < CALM_S:
            answer, _, right = self.frame()
            assert right, answer
            if reached(answer):
                return (time.perf_counter() - began) * 1e3
        raise AssertionError(f"{otherwise}: {self.engine.status()}")

    def _right(self, outputs: Sequence[Array], own: Sequence[Array]) -> bool:
        return len(outputs) == len(own) and all(
            bool(np.abs(np.subtract(a, b, dtype=np.float64)).max() <= self._tolerance)
            for a, b in zip(outputs, own, strict=True)
        )


def split_first(
    watch: Watch, fault: str, begin: Callable[[], object], *, seconds: float = 1.2
) -> Row:
    """Frames until they are split steadily; then the fault begins."""
    watch.until_split()
    for _ in range(5):
        watch.frame()
    watch.until_split()
    begin()
    return watch.row(fault, seconds=seconds)

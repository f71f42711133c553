"""How fast it goes: percentiles and rates of the newest answers, and what became of each frame."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Counts", "Meter", "Readings"]

WINDOW = 120  # answers that the percentiles are taken over
RATE_S = 3.0  # seconds that the rate is taken over


@dataclass(frozen=True)
class Counts:
    """Frames handed in and what became of them; those that are not yet anything are on their way.

    `skipped` are those that a newer one replaced before their turn, or whose source was left.
    """

    handed: int = 0
    answered: int = 0
    skipped: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Readings:
    """Milliseconds from frame to result: median and 95th percentile over the newest `n` answers.

    `fps` are answers per second, None before there are two.
    """

    n: int = 0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    fps: float | None = None
    counts: Counts = field(default_factory=Counts)


class Meter:
    """Takes answers' times; for one thread."""

    def __init__(self) -> None:
        self._took: deque[float] = deque(maxlen=WINDOW)
        self._ends: deque[float] = deque()

    def add(self, took_ms: float, *, at_s: float) -> None:
        """An answer was there at `at_s` (monotonic), `took_ms` after its frame."""
        self._took.append(took_ms)
        self._ends.append(at_s)
        while self._ends[0] < at_s - RATE_S:
            self._ends.popleft()

    def clear(self) -> None:
        """Another source or setting: what was measured before says nothing of it."""
        self._took.clear()
        self._ends.clear()

    def read(self, counts: Counts) -> Readings:
        """The readings now."""
        if not self._took:
            return Readings(counts=counts)
        p50, p95 = np.percentile(self._took, (50, 95), method="inverted_cdf")  # nearest rank
        spent_s = self._ends[-1] - self._ends[0]
        fps = (len(self._ends) - 1) / spent_s if spent_s > 0 else None
        return Readings(len(self._took), float(p50), float(p95), fps, counts)

"""A cell against the same cell of another run: by how much, and whether that is more than noise.

The noise seen is how far above its median a run's slowest tenth begins, (p90 - p50) / p50, of the
noisier of both. What differs by less may be the machine's mood; what differs by more still is two
runs at two times, not the side-by-side measurement that a claim needs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from app.benchmark.matrix import Cell
from app.benchmark.measure import Measured
from app.benchmark.records import Run
from headtail.timing import Timing

__all__ = ["Change", "best", "change_of", "changes"]


@dataclass(frozen=True)
class Change:
    """`ratio` is p50 now over p50 then: below 1 is faster. `noise` is a share of p50."""

    ratio: float
    noise: float

    @property
    def real(self) -> bool:
        """Does it differ by more than the noise seen?"""
        return max(self.ratio, 1 / self.ratio) > 1 + self.noise


def changes(run: Run, former: Run | None) -> dict[Cell, Change]:
    """For each cell that both runs timed, of the same bundle, how it changed."""
    if former is None:
        return {}
    then = {measured.cell: measured.timing for measured in former.cells}
    found = ((m.cell, change_of(m.timing, then.get(m.cell))) for m in run.cells)
    return {cell: change for cell, change in found if change is not None}


def change_of(now: Timing | None, then: Timing | None) -> Change | None:
    """None unless both were timed, in the same kind of time, and took any time at all."""
    if now is None or then is None or now.kind != then.kind or min(now.p50_ms, then.p50_ms) <= 0:
        return None
    return Change(now.p50_ms / then.p50_ms, max(_spread(now), _spread(then)))


def best(cells: Iterable[Measured]) -> Cell | None:
    """The one with the least p50; times of different kinds have no best among them."""
    timed = [(m.timing, m.cell) for m in cells if m.timing is not None]
    if not timed or len({timing.kind for timing, _ in timed}) > 1:
        return None
    return min(timed, key=lambda pair: pair[0].p50_ms)[1]


def _spread(timing: Timing) -> float:
    return (timing.p90_ms - timing.p50_ms) / timing.p50_ms

"""A cell against the same cell of another run: by how much, and whether that is more than noise.

The noise seen is the largest of: how far above its median a run's slowest tenth begins, (p90 - p50)
/ p50, in either; and how far apart the medians of former runs lie. A change counts only if the
fastest run moved as the median did, since nothing that disturbs a run makes its fastest one faster.
What differs by less may be the machine's mood; what differs by more still is two runs at two times,
not the side-by-side measurement that a claim needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.benchmark.matrix import Cell
from app.benchmark.measure import Measured
from app.benchmark.records import Run
from headtail.timing import Timing

__all__ = ["Change", "best", "change_of", "changes"]


@dataclass(frozen=True)
class Change:
    """`ratio` is p50 now over p50 then, `fastest` the same of the fastest runs: below 1 is faster.
    `noise` is a share of p50."""

    ratio: float
    fastest: float
    noise: float

    @property
    def real(self) -> bool:
        """Does it differ by more than the noise seen?"""
        least = 1 + self.noise
        return min(self.ratio, self.fastest) > least or max(self.ratio, self.fastest) < 1 / least


def changes(run: Run, formers: Sequence[Run]) -> dict[Cell, Change]:
    """For each cell that this run and the last of `formers` timed (newest first), its change."""
    then = [{measured.cell: measured.timing for measured in former.cells} for former in formers]
    found = (
        (m.cell, change_of(m.timing, [cells.get(m.cell) for cells in then])) for m in run.cells
    )
    return {cell: change for cell, change in found if change is not None}


def change_of(now: Timing | None, formers: Sequence[Timing | None]) -> Change | None:
    """None unless now and the last time were timed, in the same kind of time, and took any time."""
    same = [t for t in formers if t is not None and now is not None and t.kind == now.kind]
    if now is None or not same or formers[0] is not same[0]:
        return None
    then = same[0]
    if min(now.min_ms, then.min_ms) <= 0:
        return None
    medians = [timing.p50_ms for timing in same]
    apart = (max(medians) - min(medians)) / min(medians)
    noise = max(_spread(now), _spread(then), apart)
    return Change(now.p50_ms / then.p50_ms, now.min_ms / then.min_ms, noise)


def best(cells: Iterable[Measured]) -> Cell | None:
    """The one with the least p50; times of different kinds have no best among them."""
    timed = [(m.timing, m.cell) for m in cells if m.timing is not None]
    if not timed or len({timing.kind for timing, _ in timed}) > 1:
        return None
    return min(timed, key=lambda pair: pair[0].p50_ms)[1]


def _spread(timing: Timing) -> float:
    return (timing.p90_ms - timing.p50_ms) / timing.p50_ms

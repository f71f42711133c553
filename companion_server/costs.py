"""What a batch will take: measured when a bundle is loaded, corrected by what batches really took.

A tail entered at cut c with n samples takes t(c, n). Requests at several cuts run together: the
earliest ones alone to the next cut, where the others join. So with N_i samples on the way behind
the i-th cut, the whole takes  sum over i of t(c_i, N_i) - t(c_{i+1}, N_i),  with t = 0 at the end.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

__all__ = ["BatchCosts"]

EWMA_WEIGHT = 0.1  # of the newest batch
LARGEST_CORRECTION = 20.0
WORTH_JOINING = 0.9  # of what a sample costs alone, it may cost in a batch


class BatchCosts:
    """Predicted times of one bundle in ms; `order` are its cuts, earliest first."""

    def __init__(self, table: Mapping[str, Mapping[int, float]], order: Sequence[str]) -> None:
        """`table`: cut -> number of samples -> measured ms; cuts may be missing from it."""
        self._table = {cut: sorted(times.items()) for cut, times in table.items() if times}
        self._place = {cut: place for place, cut in enumerate(order)}
        self._factor = 1.0
        self._best: dict[tuple[str, int], int] = {}

    def order(self, cut: str) -> int:
        """Where a cut stands in the program; cuts with a larger number come later."""
        return self._place[cut]

    def of(self, samples: Mapping[str, int]) -> float:
        """ms for so many samples at each cut, computed together."""
        cuts = sorted(samples, key=self.order)
        total, together = 0.0, 0
        for place, cut in enumerate(cuts):
            together += samples[cut]
            total += self._entered(cut, together)
            if place + 1 < len(cuts):
                total -= self._entered(cuts[place + 1], together)
        return max(total, 0.0) * self._factor

    def each(self, cut: str, *, most: int) -> float:
        """ms per sample in the best batch of up to `most`."""
        sizes = range(1, most + 1)
        return min(self._entered(cut, size) / size for size in sizes) * self._factor

    def best(self, cut: str, *, most: int) -> int:
        """The batch of up to `most` samples that takes the least time for each; 1 if none is worth
        it. A batch of two may well cost more than two batches and one of eight hardly more than it:
        a product with one row is another kernel than one with several."""
        if (cut, most) not in self._best:  # asked for every job, and what was measured stays
            alone = self._entered(cut, 1)
            sizes = range(2, most + 1)
            size = min(sizes, key=lambda n: self._entered(cut, n) / n, default=1)
            pays = self._entered(cut, size) / size <= WORTH_JOINING * alone
            self._best[cut, most] = size if pays else 1
        return self._best[cut, most]

    def learn(self, samples: Mapping[str, int], took_ms: float) -> None:
        """A batch took so long; the machine may be slower now than when it was measured."""
        predicted = self.of(samples) / self._factor
        if predicted > 0:
            seen = min(max(took_ms / predicted, 1 / LARGEST_CORRECTION), LARGEST_CORRECTION)
            self._factor += EWMA_WEIGHT * (seen - self._factor)

    def _entered(self, cut: str, samples: int) -> float:
        points = self._table.get(cut)
        if not points:  # a cut that was not measured costs no more than the one before it
            earlier = [c for c in self._table if self._place[c] < self._place[cut]]
            if not earlier:
                return 0.0
            points = self._table[max(earlier, key=self.order)]
        return _interpolated(points, samples)


def _interpolated(points: Sequence[tuple[int, float]], at: int) -> float:
    """Piecewise linear; beyond the last point in proportion to it."""
    sizes = [size for size, _ in points]
    place = bisect_left(sizes, at)
    if place == len(points):
        size, time = points[-1]
        return time * at / size
    size, time = points[place]
    if size == at or place == 0:
        return time * at / size if size < at else time
    before, earlier = points[place - 1]
    return earlier + (time - earlier) * (at - before) / (size - before)

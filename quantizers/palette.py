"""Tables of values for palettized weights: k-means in one dimension, solved by dynamic programming.

On a line the best clusters are intervals of the sorted values, so the optimum can be found instead
of hoped for: D_k[j] = min_i D_(k-1)[i] + cost(i, j), whose best i moves to the right with j, which
makes a layer O(m log m). Wang & Song, "Ckmeans.1d.dp", https://doi.org/10.32614/RJ-2011-015;
Grønlund et al., https://arxiv.org/abs/1701.07204. Tables for weights: Han et al.,
https://arxiv.org/abs/1510.00149.

Many values are binned first; the optimum of the bins is then improved on all values (Lloyd's
iteration), which can only lower the error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headtail.errors import UsageFault
from headtail.tensors import Array

__all__ = ["fit_palette", "fit_scaled_palette"]

_Floats = npt.NDArray[np.float64]
_Places = npt.NDArray[np.int64]

_BINS = 24  # per entry of the table, half of them of equal width, half of equal weight
_MOST_BINS = 1536  # a table of 256 entries has 6 for each, and Lloyd does the rest
_ROUNDS = 100  # of Lloyd's iteration, at most; it stops when nothing moves
_LEAST_CHANNELS = 16  # that share a table
_TABLE_SHARE = 1 / 16  # of the indices' bytes, at most, that tables may add


def fit_palette(weight: Array, bits: int, *, importance: Array | None = None) -> Array:
    """Tables (groups, 2^bits), float32 and ascending, for equal groups of output channels (axis 0).

    There are as many groups as pay: their tables are small beside the indices. The error that is
    least is the sum of `importance` (the shape of `weight`; ones if None) times the squared
    distance of each value to the nearest entry of its table. Where a group has fewer distinct
    values than entries, the largest is repeated. Raises `UsageFault` for values that are not
    finite.
    """
    if not np.isfinite(weight).all():
        raise UsageFault(
            f"A weight of shape {list(weight.shape)} holds values that are not finite.",
            expected="Every weight is a number.",
            remedy="Correct the model's weights before quantizing it.",
        )
    groups = _groups(weight.shape, bits)
    values = weight.reshape(groups, -1).astype(np.float64)
    worth = (
        np.ones_like(values) if importance is None else importance.reshape(groups, -1).astype(float)
    )
    tables = [_table(*pair, 1 << bits) for pair in zip(values, worth, strict=True)]
    return np.stack(tables).astype(np.float32)


def fit_scaled_palette(weight: Array, bits: int) -> tuple[Array, Array]:
    """Tables as `fit_palette` gives them, and a scale (O, 1, ...) for each output channel.

    A channel's values are entries times its scale, the largest of its weights: channels whose
    weights differ in size, as batch norms make them, then share a table well. Least is the sum of
    the squared errors of the weights themselves.
    """
    rows = np.abs(weight.reshape(len(weight), -1)).max(1, initial=0.0)
    scale = np.where(rows > 0, rows, 1.0).astype(np.float32)
    scale = scale.reshape(-1, *[1] * (weight.ndim - 1))
    importance = np.broadcast_to(np.square(scale), weight.shape)
    even = np.divide(weight, scale, dtype=np.float32)
    return fit_palette(even, bits, importance=importance), scale


def _groups(shape: tuple[int, ...], bits: int) -> int:
    channels = shape[0]
    row = int(np.prod(shape[1:], dtype=np.int64)) * bits / 8
    table = 4 * (1 << bits)
    for groups in range(channels // _LEAST_CHANNELS, 1, -1):
        if channels % groups == 0 and table <= _TABLE_SHARE * row * channels / groups:
            return groups
    return 1


@dataclass(frozen=True)
class _Points:
    """Values in ascending order, and running sums of weight, weight * value, weight * value^2."""

    values: _Floats
    weight: _Floats
    first: _Floats
    second: _Floats

    @classmethod
    def of(cls, values: _Floats, weight: _Floats) -> _Points:
        sums = [np.cumsum(np.concatenate([[0.0], weight * values**power])) for power in range(3)]
        return cls(values, *sums)

    def cost(self, start: _Places, stop: _Places) -> _Floats:
        """Least squared error of one entry for the points from `start` up to before `stop`."""
        weight = self.weight[stop] - self.weight[start]
        first = self.first[stop] - self.first[start]
        second = self.second[stop] - self.second[start]
        spread: _Floats = second - np.divide(first**2, weight, where=weight > 0, out=first * 0)
        return spread

    def means(self, edges: _Places, before: _Floats) -> _Floats:
        """Mean between successive `edges`; that of `before` where nothing lies between."""
        weight, first = np.diff(self.weight[edges]), np.diff(self.first[edges])
        found: _Floats = np.divide(first, weight, where=weight > 0, out=before.copy())
        return found


def _table(values: _Floats, worth: _Floats, entries: int) -> _Floats:
    order = np.argsort(values, kind="stable")
    middle = float(values.mean())  # sums of squares cancel less around it
    points = _Points.of(values[order] - middle, worth[order] + 1e-12 * worth.max())
    starts = _bins(points, min(_BINS * entries, _MOST_BINS))
    if len(starts) <= entries:
        held = points.values[starts]
        padded: _Floats = np.pad(held, (0, entries - len(held)), mode="edge") + middle
        return padded
    edges = np.append(starts, len(points.values))
    table = points.means(edges[_best_cuts(points, edges, entries)], np.zeros(entries))
    return _improved(points, table) + middle


def _bins(points: _Points, most: int) -> _Places:
    """Where bins begin: one for each distinct value, or as many as allowed."""
    values = points.values
    distinct = np.flatnonzero(np.concatenate([[True], values[1:] > values[:-1]]))
    if len(distinct) <= most:
        return distinct
    wide = np.searchsorted(values, np.linspace(values[0], values[-1], most // 2))
    heavy = np.searchsorted(points.weight, np.linspace(0, points.weight[-1], most // 2)[:-1])
    starts = np.unique(np.concatenate([wide, heavy]))
    # equal values stay together
    return distinct[np.unique(np.searchsorted(distinct, starts, side="right") - 1)]


def _best_cuts(points: _Points, edges: _Places, entries: int) -> _Places:
    """Positions in `edges` of the best `entries` intervals, both ends included."""
    last = len(edges) - 1
    least = points.cost(edges[np.zeros(last + 1, np.int64)], edges)
    chosen = []
    for _ in range(entries - 1):
        least, source = _layer(points, edges, least)
        chosen.append(source)
    cuts = [last]
    for source in reversed(chosen):
        cuts.append(int(source[cuts[-1]]))
    return np.array([0, *reversed(cuts)])


def _layer(points: _Points, edges: _Places, least: _Floats) -> tuple[_Floats, _Places]:
    """One more interval: the least cost of every prefix, and where its last interval begins.

    Halving steps: the answers for two positions bound the answer between them.
    """
    count = len(least)
    found, source = np.zeros(count), np.zeros(count, np.int64)
    step = 1 << (count - 1).bit_length()
    while step > 1:
        half = step // 2
        stops = np.arange(half, count, step)
        low = source[stops - half]
        beyond = stops + half
        high = np.where(beyond < count, source[np.minimum(beyond, count - 1)], stops)
        high = np.minimum(high, stops)
        lengths = high - low + 1
        begins = np.cumsum(lengths) - lengths
        starts = np.arange(lengths.sum()) + np.repeat(low - begins, lengths)
        cost = least[starts] + points.cost(edges[starts], edges[np.repeat(stops, lengths)])
        found[stops] = np.minimum.reduceat(cost, begins)
        hits = np.flatnonzero(cost == np.repeat(found[stops], lengths))
        owner = np.searchsorted(begins, hits, side="right") - 1
        first = np.searchsorted(owner, np.arange(len(stops)))
        source[stops] = starts[hits[first]]
        step = half
    return found, source


def _improved(points: _Points, table: _Floats) -> _Floats:
    """Lloyd's iteration on all values, by running sums."""
    edges = np.zeros(len(table) + 1, np.int64)
    edges[-1] = len(points.values)
    for _ in range(_ROUNDS):
        table = np.sort(table)
        moved = np.searchsorted(points.values, (table[1:] + table[:-1]) / 2)
        if np.array_equal(moved, edges[1:-1]):
            break
        edges[1:-1] = moved
        table = points.means(edges, table)
    return table

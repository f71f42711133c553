"""Estimators of an activation's range: which values must its integers still reach?

A wide range makes coarse steps, a narrow one clips. All estimators read a streaming histogram, so
that one pass over the calibration set is enough and memory does not grow with it.

* `minmax`: everything that was seen.
* `percentile`: all but 1 in 10,000 values at each end. Wu et al., "Integer quantization for deep
  learning inference: principles and empirical evaluation", https://arxiv.org/abs/2004.09602,
  section 5.2.
* `mse`: the least mean squared error, rounding and clipping together. Nagel et al., "A white paper
  on neural network quantization", https://arxiv.org/abs/2106.08295, section 3.1.
* `entropy`: the least Kullback-Leibler divergence between the values' distribution and that of
  their integers. Migacz, "8-bit inference with TensorRT", GTC 2017,
  https://on-demand.gputechconf.com/gtc/2017/presentation/s7310-8-bit-inference-with-tensorrt.pdf.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headtail.errors import UnknownName
from quantizers.plan import Range

__all__ = ["ESTIMATORS", "Histogram", "Numbers", "estimate", "range_error"]

Numbers = NDArray[Any]  # an array to compute with
_BINS = 16_384  # at least 16 per step of 8 bits, when all of a one-sided range is kept
_TINIEST = 2.0**-100  # its bins still have float32 reciprocals
_PERCENTILE = 1e-4
_SHRINKS = np.linspace(1.0, 0.2, 41)
_COARSE = 4
_ROUNDS = 2


class Histogram:
    """Counts of the finite values seen, with their exact lowest and highest.

    Bins divide [-limit, limit) evenly. The limit is a power of two, and when it doubles pairs of
    bins become one, so counts stay exact and do not depend on how a stream is cut into arrays.
    """

    def __init__(self) -> None:
        self.low = math.inf
        self.high = -math.inf
        self.limit = _TINIEST
        self.counts = np.zeros(_BINS, np.int64)

    def add(self, values: Numbers) -> None:
        """Count an array of floats of any shape; NaN and infinities are left out."""
        flat = np.asarray(values).reshape(-1)
        low, high = (float(end(flat)) for end in (np.min, np.max)) if flat.size else (0.0, 0.0)
        if not math.isfinite(low) or not math.isfinite(high):
            flat = flat[np.isfinite(flat)]
            low, high = (float(flat.min()), float(flat.max())) if flat.size else (0.0, 0.0)
        if not flat.size:
            return
        self.low, self.high = min(self.low, low), max(self.high, high)
        while self.limit < -low or self.limit <= high:
            self._double()
        # multiplying by a power of two is exact, so a value's bin is too, unless it becomes zero
        scale = np.float32(_BINS / 2 / self.limit)
        scaled = flat * scale
        places = np.floor(scaled).astype(np.intp) + _BINS // 2
        if low < 0 and scale < 1:
            places[(scaled == 0) & (flat < 0)] = _BINS // 2 - 1
        self.counts += np.bincount(places, minlength=_BINS)

    def merged(self, other: Histogram) -> Histogram:
        """What both saw, as if one had."""
        both = Histogram()
        both.low, both.high = min(self.low, other.low), max(self.high, other.high)
        for one in (self, other):
            part = Histogram()
            part.limit, part.counts = one.limit, one.counts
            while both.limit < part.limit:
                both._double()
            while part.limit < both.limit:
                part._double()
            both.counts = both.counts + part.counts
        return both

    def _double(self) -> None:
        merged = self.counts.reshape(-1, 2).sum(1)
        self.counts = np.zeros(_BINS, np.int64)
        self.counts[_BINS // 4 : -_BINS // 4] = merged
        self.limit *= 2

    @property
    def empty(self) -> bool:
        """Was no finite value seen?"""
        return self.low > self.high

    @property
    def mean_square(self) -> float:
        """Of what was seen."""
        values, counts = self.occupied()
        return float((values**2 @ counts) / counts.sum())

    def occupied(self) -> tuple[Numbers, Numbers]:
        """Middles (float64, inside [low, high]) and counts of the bins that hold anything."""
        held = np.flatnonzero(self.counts)
        middles = (held + 0.5) * (2 * self.limit / _BINS) - self.limit
        return np.clip(middles, self.low, self.high), self.counts[held]


def estimate(seen: Histogram, method: str, *, bits: int = 8, symmetric: bool = False) -> Range:
    """The range of `bits`-bit integers for what was seen, by a method of `ESTIMATORS`.

    Zero is inside. `symmetric`: low = -high, as zero point 0 asks for. A stream without a finite
    value has the range [0, 0]. Raises `UnknownName`.
    """
    if method not in ESTIMATORS:
        raise UnknownName("range estimator", method, ESTIMATORS)
    if seen.empty:
        return Range(0.0, 0.0)
    low, high = _around_zero(seen.low, seen.high, symmetric)
    if low == high:
        return Range(low, high)
    low, high = ESTIMATORS[method](seen, (low, high), bits, symmetric)
    return Range(*_around_zero(float(low), float(high), symmetric))


def range_error(seen: Histogram, bounds: tuple[float, float], bits: int) -> float:
    """Mean squared error of what was seen, rounded to `2^bits` affine integers over `bounds`."""
    return _error(*seen.occupied(), bounds, bits)


def _error(values: Numbers, counts: Numbers, bounds: tuple[float, float], bits: int) -> float:
    return float(((_rounded(values, bounds, bits)[0] - values) ** 2 @ counts) / counts.sum())


def _around_zero(low: float, high: float, symmetric: bool) -> tuple[float, float]:
    low, high = min(low, 0.0), max(high, 0.0)
    most = max(-low, high)
    return (-most, most) if symmetric else (low, high)


def _rounded(values: Numbers, bounds: tuple[float, float], bits: int) -> tuple[Numbers, Numbers]:
    """Values moved to the grid, and which of its points each went to."""
    steps = 2**bits - 1
    scale = (bounds[1] - bounds[0]) / steps
    zero = round(-bounds[0] / scale)
    levels = np.clip(np.rint(values / scale) + zero, 0, steps)
    return (levels - zero) * scale, levels.astype(np.intp)


_Ends = tuple[float, float]
_Estimator = Callable[[Histogram, _Ends, int, bool], _Ends]


def _minmax(seen: Histogram, ends: _Ends, bits: int, symmetric: bool) -> _Ends:
    return ends


def _percentile(seen: Histogram, ends: _Ends, bits: int, symmetric: bool) -> _Ends:
    values, counts = seen.occupied()
    if symmetric:
        order = np.argsort(np.abs(values), kind="stable")
        values, counts = np.abs(values)[order], counts[order]
    share = np.cumsum(counts) / counts.sum()
    last = len(values) - 1
    high = float(values[min(int(np.searchsorted(share, 1 - _PERCENTILE)), last)])
    low = float(values[int(np.searchsorted(share, _PERCENTILE))])
    return (-high, high) if symmetric else (low, high)


def _mse(seen: Histogram, ends: _Ends, bits: int, symmetric: bool) -> _Ends:
    values, counts = seen.occupied()

    def error(bounds: _Ends) -> float:
        return _error(values, counts, bounds, bits)

    both = _shrunk(lambda s: error((ends[0] * s, ends[1] * s)))
    low, high = ends[0] * both, ends[1] * both
    if symmetric:
        return low, high
    for _ in range(_ROUNDS):  # one end at a time
        if ends[1] > 0:
            high = ends[1] * _shrunk(partial(lambda low, s: error((low, ends[1] * s)), low))
        if ends[0] < 0:
            low = ends[0] * _shrunk(partial(lambda high, s: error((ends[0] * s, high)), high))
    return low, high


def _shrunk(error: Callable[[float], float]) -> float:
    """The factor of `_SHRINKS` with the least error: every fourth, then those around the best."""
    coarse = min(_SHRINKS[::_COARSE], key=error)
    place = int(np.searchsorted(-_SHRINKS, -coarse))
    near = _SHRINKS[max(place - _COARSE + 1, 0) : place + _COARSE]
    return float(min(near, key=error))


def _entropy(seen: Histogram, ends: _Ends, bits: int, symmetric: bool) -> _Ends:
    values, counts = seen.occupied()
    # zero is exact on every grid, and what ReLU makes of it would hide the rest in its level
    away = np.abs(values) > 2 * seen.limit / _BINS
    values, counts = values[away], counts[away]
    most = max(-ends[0], ends[1])
    limits = (most * shrink for shrink in _SHRINKS)
    candidates = [(max(ends[0], -limit), min(ends[1], limit)) for limit in limits]
    return min(candidates, key=lambda bounds: _divergence(values, counts, bounds, bits))


def _divergence(values: Numbers, counts: Numbers, bounds: _Ends, bits: int) -> float:
    """KL(values with the clipped ones at the ends || the integers spread back over the values)."""
    inside = (values >= bounds[0]) & (values <= bounds[1])
    if not inside.any():
        return math.inf
    kept = np.where(inside, counts, 0).astype(np.float64)
    levels = _rounded(values, bounds, bits)[1]
    steps = 2**bits
    total = np.bincount(levels, weights=kept, minlength=steps)
    share = np.bincount(levels, weights=inside.astype(float), minlength=steps)
    spread = np.divide(total, share, out=np.zeros(steps), where=share > 0)[levels] * inside
    ends = np.flatnonzero(inside)[[0, -1]]
    clipped = kept.copy()
    clipped[ends[0]] += counts[: ends[0]].sum()
    clipped[ends[1]] += counts[ends[1] + 1 :].sum()
    p, q = clipped[inside] / clipped.sum(), spread[inside] / spread.sum()
    return float((p * np.log(p / q)).sum())


ESTIMATORS: dict[str, _Estimator] = {
    "entropy": _entropy, "minmax": _minmax, "mse": _mse, "percentile": _percentile,
}  # fmt: skip

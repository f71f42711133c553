"""Operators whose results may be far larger than what they read, and how large they will be.

A damaged attribute must end in an error, not in a machine without memory: torch allocates first.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from exporters.mil.optable import Arguments

__all__ = ["check_growth"]

MAX_ELEMENTS = 1 << 29  # 2 GB of float32 in one result


def _filled(a: Arguments) -> float:
    return math.prod(a.integers("shape"))


def _tiled(a: Arguments) -> float:
    return a.tensor("x").numel() * math.prod(a.integers("reps"))


def _padded(a: Arguments) -> float:
    x, pad = a.tensor("x"), a.integers("pad")
    start = x.dim() - len(pad) // 2
    added = [0] * start + [b + e for b, e in zip(pad[::2], pad[1::2], strict=True)]
    return math.prod(size + more for size, more in zip(x.shape, added, strict=True))


def _one_hot(a: Arguments) -> float:
    return a.tensor("indices").numel() * a.integer("one_hot_vector_size")


def _ranged(a: Arguments) -> float:
    step = a.number("step")
    return (a.number("end") - a.number("start")) / step if step else 0.0


def _upsampled(a: Arguments) -> float:
    return a.tensor("x").numel() * a.number("scale_factor_height") * a.number("scale_factor_width")


GROWTH: dict[str, Callable[[Arguments], float]] = {
    "fill": _filled,
    "one_hot": _one_hot,
    "pad": _padded,
    "random_bernoulli": _filled,
    "random_normal": _filled,
    "random_uniform": _filled,
    "range_1d": _ranged,
    "tile": _tiled,
    "upsample_bilinear": _upsampled,
    "upsample_nearest_neighbor": _upsampled,
}


def check_growth(name: str, a: Arguments) -> None:
    """Raise `ValueError` where the result of operator `name` would be too large to be meant."""
    measure = GROWTH.get(name)
    if measure is None:
        return
    count = measure(a)
    if not abs(count) <= MAX_ELEMENTS:  # not a number is refused too
        raise ValueError(f"the result would have {count:.0f} elements of at most {MAX_ELEMENTS}")

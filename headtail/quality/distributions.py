"""Histograms of a tensor before and after something was done to it."""

from __future__ import annotations

import numpy as np

from headtail.errors import UsageFault
from headtail.quality.schema import Equalization, Histogram
from headtail.tensors import Array

__all__ = ["equalized"]


def equalized(name: str, kind: str, before: Array, after: Array, *, bins: int = 41) -> Equalization:
    """How equalization changed a tensor, channels on axis 0: histograms over one common range, and
    the spread of the channels' ranges.

    `kind` is `weight` or `activation`. The spread is the largest absolute value of any channel over
    the median channel's: how much of one scale for all the widest channel takes from the others.
    The median, since a dead channel has no range. Raises `UsageFault` for tensors that are empty,
    not finite, or have other channels than each other.
    """
    arrays = [np.asarray(values, np.float64) for values in (before, after)]
    if (
        any(values.size == 0 or not np.isfinite(values).all() for values in arrays)
        or len({values.shape[0] for values in arrays}) != 1
    ):
        raise UsageFault(
            f"{name} has shapes {list(before.shape)} before and {list(after.shape)} after.",
            expected="Both have elements, all finite, and as many channels on axis 0.",
            remedy="Pass the same tensor of the network before and after it was equalized.",
        )
    limit = max(float(np.abs(values).max()) for values in arrays) or 1.0
    low = -limit if min(float(values.min()) for values in arrays) < 0 else 0.0
    edges = np.linspace(low, limit, bins + 1)
    was, now = arrays
    return Equalization(
        name, kind, _histogram(was, edges), _histogram(now, edges), _spread(was), _spread(now)
    )


def _histogram(values: Array, edges: Array) -> Histogram:
    counts, _ = np.histogram(values, edges)
    return Histogram(tuple(map(float, edges)), tuple(map(int, counts)))


def _spread(values: Array) -> float:
    ranges = np.abs(values.reshape(len(values), -1)).max(axis=1)
    alive = ranges[ranges > 0]
    return float(alive.max() / np.median(alive)) if alive.size else 1.0

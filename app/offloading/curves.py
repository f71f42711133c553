"""The geometry of a plot: a curve as triangles, and the end of an axis. Numbers only.

A curve is drawn as a ribbon, one quad for each step, because OpenGL ES need not draw lines wider
than a pixel; a value that nobody measured leaves a gap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["axis_end", "ribbon"]

STEPS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)  # an axis ends at one of them times 10^n
CORNERS = 4
VERTEX = 4  # x, y and two texture coordinates that nobody reads


def axis_end(values: Sequence[float | None]) -> float:
    """The least round number that no value exceeds; 1 where there is nothing above zero."""
    most = max((v for v in values if v is not None and math.isfinite(v)), default=0.0)
    if most <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(most))
    return next(unit * step for step in STEPS if most <= unit * step * (1 + 1e-9))


def ribbon(
    xs: npt.NDArray[np.float64], ys: npt.NDArray[np.float64], width: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint16]]:
    """Vertices (n * 4 * 4,) and indices (n * 6,) of the n quads between points that are next to
    each other and both finite; `xs` and `ys` in pixels, NaN where there is none.
    """
    known = np.isfinite(ys)
    starts = np.flatnonzero(known[:-1] & known[1:])
    dx, dy = xs[starts + 1] - xs[starts], ys[starts + 1] - ys[starts]
    length = np.maximum(np.hypot(dx, dy), 1e-6)
    across_x, across_y = -dy / length * width / 2, dx / length * width / 2
    quads = np.zeros((len(starts), CORNERS, VERTEX), np.float32)
    for corner, (end, side) in enumerate(((0, -1), (0, 1), (1, 1), (1, -1))):
        quads[:, corner, 0] = xs[starts + end] + side * across_x
        quads[:, corner, 1] = ys[starts + end] + side * across_y
    first = np.arange(len(starts), dtype=np.uint16)[:, None] * CORNERS
    triangles = first + np.array([0, 1, 2, 0, 2, 3], np.uint16)
    return quads.reshape(-1), triangles.reshape(-1).astype(np.uint16)

"""One choice per group at the least cost within linear limits, solved exactly.

A multiple-choice knapsack (https://doi.org/10.1007/978-3-540-24777-7, chapter 11) as an integer
linear program, by HiGHS (https://highs.dev) through scipy.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headtail.errors import MissingDependency

__all__ = ["choose"]

Floats = NDArray[np.float64]

_GAP = 1e-6  # between what is returned and the optimum, relative


def choose(
    groups: Sequence[int], cost: Floats, limits: Sequence[tuple[Floats, float]]
) -> list[int] | None:
    """Numbers of the variables chosen, one of each group; None if the limits exclude each other.

    `groups` (variables,) is the group of each variable, counted from 0. `cost` (variables,) is
    not negative and its sum becomes minimal, to within 1e-6 of it; the sum of each limit's
    coefficients stays within its bound, to within 1e-6 absolute: whole numbers stay within exactly.
    Raises `MissingDependency` without scipy.
    """
    scale = 1.0
    picked: list[int] | None = None
    for _ in range(2):  # again in units of the optimum: the solver's gaps are absolute as well
        allowed = cost <= scale * (1 + _GAP) if picked else np.ones(len(cost), bool)
        picked = _solve(groups, cost / scale, limits, allowed)
        if picked is None:
            return None
        scale = float(cost[picked].sum()) or 1.0
    return picked


def _solve(
    groups: Sequence[int],
    cost: Floats,
    limits: Sequence[tuple[Floats, float]],
    allowed: NDArray[np.bool_],
) -> list[int] | None:
    try:
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import coo_array
    except ImportError as error:
        raise MissingDependency(
            "scipy",
            needed_for="choosing storages within a budget",
            install="pip install 'headtail[export]'",
        ) from error
    count = len(cost)
    once: Any = coo_array((np.ones(count), (np.asarray(groups), np.arange(count))))
    constraints = [LinearConstraint(once, 1, 1)]
    constraints += [LinearConstraint(row[None], -np.inf, most) for row, most in limits]
    with _silent():
        result = milp(
            np.where(allowed, cost, 0.0),
            integrality=np.ones(count),
            bounds=Bounds(0, allowed.astype(np.float64)),
            constraints=constraints,
            options={"mip_rel_gap": _GAP},
        )
    return None if result.x is None else np.flatnonzero(result.x > 0.5).tolist()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """HiGHS prints a line of its own debugging to descriptor 1, also when it is told to be silent
    (https://github.com/jump-dev/HiGHS.jl/issues/312); there it would spoil a command's JSON."""
    kept = os.dup(1)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)

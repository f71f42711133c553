"""Gathering and scattering, for packages built by `building`.

The oracles are plain loops or numpy indexing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from .building import Array, Case

DRAW = np.random.default_rng(5)
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda old, new: old + new,
    "sub": lambda old, new: old - new,
    "mul": lambda old, new: old * new,
    "div": lambda old, new: old / new,
    "max": max,
    "min": min,
    "update": lambda old, new: new,
}


def floats(*shape: int) -> Array:
    """Distinct values, none near 0."""
    values = DRAW.permutation(np.arange(1, 1 + int(np.prod(shape)))).astype(np.float32)
    return (values * DRAW.choice([-1, 1], values.shape) / 4).astype(np.float32).reshape(shape)


def ints(high: int, *shape: int, low: int = 0, dtype: str = "int32") -> Array:
    """Integers in [low, high)."""
    return DRAW.integers(low, high, shape).astype(dtype)


def slow_scatter(data: Array, indices: Array, updates: Array, axis: int, mode: str) -> Array:
    """Element by element, in the order of updates."""
    data = data.copy()
    axis %= data.ndim
    for place in np.ndindex(*updates.shape):
        middle = place[axis : axis + indices.ndim]
        at = (*place[:axis], int(indices[middle]), *place[axis + indices.ndim :])
        data[at] = OPERATORS[mode](data[at], updates[place])
    return data


def slow_scatter_along(data: Array, indices: Array, updates: Array, axis: int, mode: str) -> Array:
    data = data.copy()
    for place in np.ndindex(*indices.shape):
        at = list(place)
        at[axis] = int(indices[place])
        data[tuple(at)] = OPERATORS[mode](data[tuple(at)], updates[place])
    return data


def slow_scatter_nd(data: Array, indices: Array, updates: Array, mode: str) -> Array:
    data = data.copy()
    for place in np.ndindex(*indices.shape[:-1]):
        for rest in np.ndindex(*data.shape[indices.shape[-1] :]):
            at = (*(int(i) for i in indices[place]), *rest)
            data[at] = OPERATORS[mode](data[at], updates[(*place, *rest)])
    return data


def slow_gather_nd(x: Array, indices: Array, batch_dims: int) -> Array:
    shape = (*indices.shape[:-1], *x.shape[batch_dims + indices.shape[-1] :])
    result = np.zeros(shape, x.dtype)
    for place in np.ndindex(*indices.shape[:-1]):
        result[place] = x[(*place[:batch_dims], *(int(i) for i in indices[place]))]
    return result


def slow_gather(x: Array, indices: Array, axis: int, batch_dims: int) -> Array:
    axis %= x.ndim
    if batch_dims == 0:
        return np.take(x, indices.astype(int), axis)
    parts = [slow_gather(a, b, axis - 1, batch_dims - 1) for a, b in zip(x, indices, strict=True)]
    return np.stack(parts)


def scattering() -> list[Case]:
    """All modes, ranks and axes; an address occurs more than once."""
    cases = []
    shapes = [(5,), (4, 3), (2, 3, 4), (2, 2, 3, 2), (1, 2, 2, 3, 2)]
    for mode, (n, shape) in itertools.product(OPERATORS, enumerate(shapes)):
        axis = (-1, 0, 1, -2, 2)[n]
        size, rank = shape[axis], len(shape)
        at = axis % rank
        indices = ints(size, 3)
        updates = floats(*shape[:at], 3, *shape[at + 1 :])
        tag = f"{mode}-rank{rank}-axis{axis}"
        cases.append(
            Case(
                f"scatter-{tag}",
                (floats(*shape), indices, updates),
                lambda mb, d, i, u, a=axis, m=mode: mb.scatter(
                    data=d, indices=i, updates=u, axis=a, mode=m
                ),
                lambda d, i, u, a=axis, m=mode: slow_scatter(d, i, u, a, m),
            )
        )
        along = list(shape)
        along[at] = 4
        cases.append(
            Case(
                f"scatter_along_axis-{tag}",
                (floats(*shape), ints(size, *along), floats(*along)),
                lambda mb, d, i, u, a=axis, m=mode: mb.scatter_along_axis(
                    data=d, indices=i, updates=u, axis=a, mode=m
                ),
                lambda d, i, u, a=axis, m=mode: slow_scatter_along(d, i, u, a % d.ndim, m),
            )
        )
        depth = 1 + n % rank
        rows = np.stack([ints(size, 3, 2) for size in shape[:depth]], -1)
        cases.append(
            Case(
                f"scatter_nd-{tag}",
                (floats(*shape), rows, floats(3, 2, *shape[depth:])),
                lambda mb, d, i, u, m=mode: mb.scatter_nd(data=d, indices=i, updates=u, mode=m),
                lambda d, i, u, m=mode: slow_scatter_nd(d, i, u, m),
            )
        )
    for mode in ("add", "sub", "mul", "max", "min", "update"):
        cases.append(
            Case(
                f"scatter-int32-{mode}",
                (ints(9, 4, 2), ints(4, 5), ints(9, 5, 2)),
                lambda mb, d, i, u, m=mode: mb.scatter(data=d, indices=i, updates=u, mode=m),
                lambda d, i, u, m=mode: slow_scatter(d, i, u, 0, m),
            )
        )
    cases += [
        Case("scatter-rank2-indices", (floats(5, 2), ints(5, 2, 3), floats(2, 3, 2)),
             lambda mb, d, i, u: mb.scatter(data=d, indices=i, updates=u),
             lambda d, i, u: slow_scatter(d, i, u, 0, "add")),
        Case("scatter-defaults", (floats(5, 2), ints(5, 3), floats(3, 2)),
             lambda mb, d, i, u: mb.scatter(data=d, indices=i, updates=u),
             lambda d, i, u: slow_scatter(d, i, u, 0, "add")),
    ]  # fmt: skip
    return cases


def gathering() -> list[Case]:
    """Ranks of x and of indices, axes of both signs."""
    cases = []
    for shape, index_shape in itertools.product(
        [(5,), (4, 3), (2, 3, 4), (2, 1, 3, 2)], [(3,), (2, 2)]
    ):
        for axis in {0, -1, len(shape) // 2}:
            cases.append(Case(
                f"gather-{shape}-{index_shape}-{axis}",
                (floats(*shape), np.asarray(ints(shape[axis], *index_shape))),
                lambda mb, x, i, a=axis: mb.gather(x=x, indices=i, axis=a),
                lambda x, i, a=axis: slow_gather(x, i, a, 0),
            ))  # fmt: skip
        cases.append(Case(  # inputs of rank 0 do not exist in Core ML, so this index is fixed
            f"gather-{shape}-scalar-{index_shape}", (floats(*shape),),
            lambda mb, x: mb.gather(x=x, indices=1, axis=-2 % x.rank - x.rank),
            lambda x: np.take(x, 1, -2 % x.ndim - x.ndim),
        ))  # fmt: skip
    for shape, axis in [((5,), 0), ((4, 3), -1), ((4, 3), 0), ((2, 3, 4), 1), ((2, 1, 3, 2), -2)]:
        wanted = list(shape)
        wanted[axis] = 6
        cases.append(Case(
            f"gather_along_axis-{shape}-{axis}", (floats(*shape), ints(shape[axis], *wanted)),
            lambda mb, x, i, a=axis: mb.gather_along_axis(x=x, indices=i, axis=a),
            lambda x, i, a=axis: np.take_along_axis(x, i.astype(int), a),
        ))  # fmt: skip
        for depth in range(1, len(shape) + 1):
            rows = np.stack([ints(size, 2, 3) for size in shape[:depth]], -1)
            cases.append(Case(
                f"gather_nd-{shape}-{depth}-{axis}", (floats(*shape), rows),
                lambda mb, x, i: mb.gather_nd(x=x, indices=i),
                lambda x, i: slow_gather_nd(x, i, 0),
            ))  # fmt: skip
    return cases


def negative_gathering() -> list[Case]:
    """Until iOS16 an index below 0 counts from the end."""
    return [
        Case("gather", (floats(4, 3), np.array([-1, 0, -4], np.int32)),
             lambda mb, x, i: mb.gather(x=x, indices=i), lambda x, i: x[i]),
        Case("gather_along_axis", (floats(2, 3), np.array([[-1, 0], [-3, 2]], np.int32)),
             lambda mb, x, i: mb.gather_along_axis(x=x, indices=i, axis=1),
             lambda x, i: np.take_along_axis(x, i.astype(int), 1)),
        Case("gather_nd", (floats(2, 3), np.array([[-1, 0], [1, -3]], np.int32)),
             lambda mb, x, i: mb.gather_nd(x=x, indices=i), lambda x, i: x[i[:, 0], i[:, 1]]),
        Case("scatter", (floats(4), np.array([-1, 0], np.int32), floats(2)),
             lambda mb, d, i, u: mb.scatter(data=d, indices=i, updates=u, mode="update"),
             lambda d, i, u: slow_scatter(d, i, u, 0, "update")),
    ]  # fmt: skip


def batched_gathering() -> list[Case]:
    """batch_dims, since iOS16."""

    def nd(*shape: int, batch: int, depth: int) -> tuple[Array, Array]:
        lead = shape[:batch]
        rows = [ints(size, *lead, 3) for size in shape[batch : batch + depth]]
        return floats(*shape), np.stack(rows, -1)

    one, two = nd(2, 3, 4, batch=1, depth=2), nd(2, 3, 4, 2, batch=2, depth=1)
    return [
        Case("gather-1", (floats(2, 5, 3), ints(5, 2, 4)),
             lambda mb, x, i: mb.gather(x=x, indices=i, axis=1, batch_dims=1),
             lambda x, i: slow_gather(x, i, 1, 1)),
        Case("gather-1-last", (floats(2, 5, 3), ints(3, 2, 4)),
             lambda mb, x, i: mb.gather(x=x, indices=i, axis=-1, batch_dims=1),
             lambda x, i: slow_gather(x, i, 2, 1)),
        Case("gather-2", (floats(2, 2, 5, 3), ints(5, 2, 2, 2, 2)),
             lambda mb, x, i: mb.gather(x=x, indices=i, axis=2, batch_dims=2),
             lambda x, i: slow_gather(x, i, 2, 2)),
        Case("gather-1-one-each", (floats(3, 5), ints(5, 3)),
             lambda mb, x, i: mb.gather(x=x, indices=i, axis=1, batch_dims=1),
             lambda x, i: slow_gather(x, i, 1, 1)),
        Case("gather_nd-1", one, lambda mb, x, i: mb.gather_nd(x=x, indices=i, batch_dims=1),
             lambda x, i: slow_gather_nd(x, i, 1)),
        Case("gather_nd-2", two, lambda mb, x, i: mb.gather_nd(x=x, indices=i, batch_dims=2),
             lambda x, i: slow_gather_nd(x, i, 2)),
    ]  # fmt: skip


def narrow_gathering() -> list[Case]:
    """Small integer types of data and indices, since iOS17."""
    cases = []
    for dtype in ("int8", "uint8", "int16", "uint16"):
        x, along = ints(100, 3, 4, dtype=dtype), ints(3, 2, 4, dtype=dtype)
        cases += [
            Case(f"gather-{dtype}", (x, ints(4, 5, dtype=dtype)),
                 lambda mb, x, i: mb.gather(x=x, indices=i, axis=1, validate_indices=True),
                 lambda x, i: np.take(x, i.astype(int), 1)),
            Case(f"gather_along_axis-{dtype}", (x, along),
                 lambda mb, x, i: mb.gather_along_axis(x=x, indices=i),
                 lambda x, i: np.take_along_axis(x, i.astype(int), 0)),
            Case(f"gather_nd-{dtype}", (x, ints(3, 5, 1, dtype=dtype)),
                 lambda mb, x, i: mb.gather_nd(x=x, indices=i),
                 lambda x, i: x[i[:, 0].astype(int)]),
        ]  # fmt: skip
    return cases

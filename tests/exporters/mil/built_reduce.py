"""Reductions and matrix products, for packages built by `building`, against numpy."""

from __future__ import annotations

import itertools

import numpy as np

from .building import Array, Case
from .built_gather import floats, ints
from .built_math import Oracle, apply, apply_two


def integral(function: Oracle) -> Oracle:
    """Reductions of integers drop the fraction."""
    return lambda x, **keywords: np.trunc(function(x.astype(float), **keywords)).astype(np.int64)


REDUCTIONS: dict[str, Oracle] = {
    "reduce_sum": np.sum,
    "reduce_mean": np.mean,
    "reduce_max": np.max,
    "reduce_min": np.min,
    "reduce_prod": np.prod,
    "reduce_l1_norm": lambda x, **k: np.sum(np.abs(x), **k),
    "reduce_l2_norm": lambda x, **k: np.sqrt(np.sum(x * x, **k)),
    "reduce_sum_square": lambda x, **k: np.sum(x * x, **k),
    "reduce_log_sum": lambda x, **k: np.log(np.sum(x, **k)),
    "reduce_log_sum_exp": lambda x, **k: np.log(np.sum(np.exp(x), **k)),
}


def reductions() -> list[Case]:
    """All axes, one, several of both signs, kept or not; floats and integers."""
    cases = []
    axes = [
        ((6,), (0,)),
        ((2, 3), (-1,)),
        ((2, 1, 4), (0, -1)),
        ((1, 2, 3, 2), (1, 2)),
        ((2, 1, 2, 1, 3), (-3, 4)),
    ]
    for (shape, along), (op, f), keep in itertools.product(axes, REDUCTIONS.items(), (True, False)):
        x = 0.5 + np.abs(floats(*shape)) / 8
        if len(along) < len(shape) or keep:
            cases.append(
                Case(
                    f"{op}-{shape}-{keep}",
                    (x,),
                    apply(op, axes=along, keep_dims=keep),
                    lambda x, f=f, a=along, k=keep: f(x, axis=a, keepdims=k),
                )
            )
    for op, f in REDUCTIONS.items():
        cases.append(
            Case(
                f"{op}-all",
                (0.5 + np.abs(floats(2, 3)) / 8,),
                apply(op, keep_dims=True),
                lambda x, f=f: f(x, keepdims=True),
            )
        )
        cases.append(
            Case(
                f"{op}-int",
                (ints(6, 3, 4, low=1),),
                apply(op, axes=[1]),
                lambda x, f=f: integral(f)(x, axis=1),
            )
        )
    for op, f in (("reduce_argmax", np.argmax), ("reduce_argmin", np.argmin)):
        for shape, axis, keep in [
            ((6,), 0, True),
            ((2, 3), -1, False),
            ((2, 3, 4), 1, True),
            ((2, 2, 2, 3), 0, False),
        ]:
            x = ints(3, *shape).astype(np.float32)  # with ties
            cases.append(
                Case(
                    f"{op}-{shape}",
                    (x,),
                    apply(op, axis=axis, keep_dims=keep),
                    lambda x, f=f, a=axis, k=keep: f(x, axis=a, keepdims=k),
                )
            )
    for axis, exclusive, backwards in itertools.product((0, 1, -1), (False, True), (False, True)):
        cases.append(
            Case(
                f"cumsum-{axis}-{exclusive}-{backwards}",
                (floats(3, 4),),
                apply("cumsum", axis=axis, exclusive=exclusive, reverse=backwards),
                lambda x, a=axis, e=exclusive, r=backwards: slow_cumsum(
                    x, a, exclusive=e, backwards=r
                ),
            )
        )
    return cases


def slow_cumsum(x: Array, axis: int, *, exclusive: bool, backwards: bool) -> Array:
    x = np.moveaxis(x, axis, 0)
    rows = [
        (x[i + exclusive :] if backwards else x[: i + 1 - exclusive]).sum(0) for i in range(len(x))
    ]
    return np.moveaxis(np.stack(rows), 0, axis)


def matrices() -> list[Case]:
    """matmul at every rank and transposition, linear, einsum."""
    cases = []
    for a, b in [
        ((2, 3), (3, 4)),
        ((5, 2, 3), (3, 4)),
        ((2, 1, 2, 3), (5, 3, 4)),
        ((2, 2, 2, 1, 3), (2, 3, 2)),
    ]:
        for t_x, t_y in itertools.product((False, True), (False, True)):
            x, y = floats(*a), floats(*b)
            x = np.swapaxes(x, -1, -2).copy() if t_x else x
            y = np.swapaxes(y, -1, -2).copy() if t_y else y
            cases.append(
                Case(
                    f"matmul-{a}-{t_x}-{t_y}",
                    (x, y),
                    lambda mb, x, y, p=t_x, q=t_y: mb.matmul(
                        x=x, y=y, transpose_x=p, transpose_y=q
                    ),
                    lambda x, y, p=t_x, q=t_y: np.matmul(
                        np.swapaxes(x, -1, -2) if p else x, np.swapaxes(y, -1, -2) if q else y
                    ),
                )
            )
    weight, bias = floats(4, 3), floats(4)
    for shape in [(3,), (2, 3), (2, 2, 3)]:
        cases.append(
            Case(
                f"linear-{shape}",
                (floats(*shape),),
                lambda mb, x: mb.linear(x=x, weight=weight, bias=bias),
                lambda x: x @ weight.T + bias,
            )
        )
    whole = ints(9, 4, 3, low=-9)
    cases += [
        Case(
            "linear-int",
            (ints(9, 2, 3),),
            lambda mb, x: mb.linear(x=x, weight=whole),
            lambda x: x @ whole.T,
        ),
        Case("matmul-vector", (floats(3), floats(3, 4)), apply_two("matmul"), np.matmul),
        Case("matmul-int", (ints(9, 2, 3), ints(9, 3, 4)), apply_two("matmul"), np.matmul),
        Case(
            "einsum-4",
            (floats(2, 3, 1, 4), floats(1, 4, 5, 2)),
            lambda mb, x, y: mb.einsum(values=(x, y), equation="nchw,nwhu->nchu"),
            lambda x, y: np.sum(x[:, :, :, :, None] * np.moveaxis(y, 1, 2)[:, None], 3),
        ),
        Case(
            "einsum-3",
            (floats(3, 2, 4), floats(4, 2, 5)),
            lambda mb, x, y: mb.einsum(values=(x, y), equation="abc,cbd->abd"),
            lambda x, y: np.sum(x[:, :, :, None] * np.moveaxis(y, 0, 1)[None], 2),
        ),
    ]
    return cases

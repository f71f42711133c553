"""Slicing, for packages built by `building`; the oracle is numpy's indexing."""

from __future__ import annotations

from typing import Any

import numpy as np

from .building import Array, Case
from .built_gather import floats, ints

SLICES: list[tuple[tuple[int, ...], dict[str, Any], Any]] = [
    ((6,), {"begin": [1], "end": [4]}, np.s_[1:4]),
    ((6,), {"begin": [-3], "end": [-1]}, np.s_[-3:-1]),
    ((6,), {"begin": [4], "end": [1], "stride": [-2]}, np.s_[4:1:-2]),
    (
        (6,),
        {"begin": [0], "end": [0], "stride": [-1], "begin_mask": [True], "end_mask": [True]},
        np.s_[::-1],
    ),
    ((4, 5), {"begin": [1, -4], "end": [4, -1], "stride": [2, 1]}, np.s_[1:4:2, -4:-1]),
    (
        (4, 5),
        {"begin": [1, 9], "end": [2, 0], "begin_mask": [False, True], "end_mask": [False, True]},
        np.s_[1:2, :],
    ),
    ((4, 5), {"begin": [-1, 0], "end": [0, 5], "squeeze_mask": [True, False]}, np.s_[-1, 0:5]),
    ((4, 5), {"begin": [2, 3], "end": [0, 0], "squeeze_mask": [True, True]}, np.s_[2, 3]),
    (
        (2, 3, 4),
        {"begin": [0, 2, 3], "end": [2, 0, 0], "stride": [1, -1, -2]},
        np.s_[0:2, 2:0:-1, 3:0:-2],
    ),
    ((2, 3, 4), {"begin": [0, 1, 0], "end": [2, 99, 4]}, np.s_[0:2, 1:99, 0:4]),
    (
        (2, 1, 3, 2),
        {"begin": [0, 0, 1, 0], "end": [1, 0, 3, 2], "squeeze_mask": [False, True, False, False]},
        np.s_[0:1, 0, 1:3, 0:2],
    ),
    (
        (2, 2, 2, 3, 2),
        {"begin": [0, 0, 1, 0, 1], "end": [2, 1, 2, 3, 2], "stride": [1, 1, 1, 2, 1]},
        np.s_[0:2, 0:1, 1:2, 0:3:2, 1:2],
    ),
]


def slicing() -> list[Case]:
    """slice_by_index with every mask, slice_by_size, with attributes fixed and as inputs."""
    cases = []
    for n, (shape, attributes, at) in enumerate(SLICES):
        moving = {k: v for k, v in attributes.items() if k not in {"begin", "end"}}
        cases.append(
            Case(
                f"slice_by_index-{n}",
                (floats(*shape),),
                lambda mb, x, k=attributes: mb.slice_by_index(x=x, **k),
                lambda x, at=at: x[at],
            )
        )
        if "squeeze_mask" not in attributes or not all(attributes["squeeze_mask"]):
            cases.append(
                Case(
                    f"slice_by_index-moving-{n}",
                    (
                        floats(*shape),
                        *(np.array(attributes[k], np.int32) for k in ("begin", "end")),
                    ),
                    lambda mb, x, b, e, k=moving: mb.slice_by_index(x=x, begin=b, end=e, **k),
                    lambda x, b, e, at=at: x[at],
                )
            )
    cases += [
        Case(
            "slice_by_index-int",
            (ints(9, 3, 4),),
            lambda mb, x: mb.slice_by_index(x=x, begin=[1, 0], end=[3, 2]),
            lambda x: x[1:3, :2],
        ),
        Case(
            "slice_by_index-bool",
            (ints(2, 3, 4).astype(bool),),
            lambda mb, x: mb.slice_by_index(x=x, begin=[1, 0], end=[3, 2]),
            lambda x: x[1:3, :2],
        ),
        Case(
            "slice_by_size",
            (floats(3, 4),),
            lambda mb, x: mb.slice_by_size(x=x, begin=[1, 2], size=[-1, 1]),
            lambda x: x[1:, 2:3],
        ),
        Case(
            "slice_by_size-moving",
            (floats(3, 4, 2), np.array([0, 1, 0], np.int32)),
            lambda mb, x, b: mb.slice_by_size(x=x, begin=b, size=[2, 3, 1]),
            lambda x, b: x[0:2, 1:4, 0:1],
        ),
        Case(
            "sliding_windows",
            (floats(2, 7),),
            lambda mb, x: mb.sliding_windows(x=x, axis=1, size=3),
            lambda x: np.stack([x[:, i : i + 3] for i in range(5)], 1),
        ),
        Case(
            "sliding_windows-negative",
            (floats(2, 7, 3),),
            lambda mb, x: mb.sliding_windows(x=x, axis=-2, size=3, stride=2),
            lambda x: np.stack([x[:, i : i + 3] for i in (0, 2, 4)], 1),
        ),
    ]
    return cases


def updating() -> list[Case]:
    """slice_update of iOS18 where slice_by_index reads."""

    def oracle(x: Array, u: Array, at: Any) -> Array:
        x = x.copy()
        x[at] = u
        return x

    return [
        Case(
            f"slice_update-{n}",
            (floats(*shape), floats(*np.zeros(shape)[at].shape)),
            lambda mb, x, u, k=attributes: mb.slice_update(x=x, update=u, **k),
            lambda x, u, at=at: oracle(x, u, at),
        )
        for n, (shape, attributes, at) in enumerate(SLICES)
        if np.zeros(shape)[at].ndim
    ]

"""The classification extension: an output's largest values, as text, instead of the tensor.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_classification.md:
a requested output with the parameter `classification` = k comes back as BYTES of shape [batch, k],
each element `value:index` or `value:index:label`, the largest value first. k above the number of
classes means all of them. The index is into one sample's values, row-major.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headtail.tensors import Array

__all__ = ["top_classes"]


def top_classes(array: Array, count: int, labels: Sequence[str]) -> Array:
    """An output, batch first, to its classes: `str` objects of shape (batch, min(count, classes)).

    Labels are used if there is exactly one for each value of a sample. Equal values come in the
    order of their indices, and NaN counts as minus infinity. Values are the shortest text that
    reads back as the same number.
    """
    rows = array.reshape(array.shape[0], -1)
    if rows.dtype == np.bool_:
        rows = rows.view(np.uint8)
    classes = rows.shape[1]
    kept = min(count, classes)
    named = len(labels) == classes
    # ascending, stable, on the reversed row: the last is the largest, and of equals the first
    order = classes - 1 - np.argsort(_comparable(rows)[:, ::-1], axis=1, kind="stable")[:, ::-1]
    texts = np.empty((rows.shape[0], kept), dtype=object)
    for row in range(rows.shape[0]):
        for place, index in enumerate(order[row, :kept].tolist()):
            text = f"{rows[row, index]!s}:{index}"
            texts[row, place] = f"{text}:{labels[index]}" if named else text
    return texts


def _comparable(rows: Array) -> Array:
    # numpy sorts NaN as the largest
    if rows.dtype.kind != "f":
        return rows
    return np.nan_to_num(rows, nan=-np.inf, posinf=np.inf, neginf=-np.inf)

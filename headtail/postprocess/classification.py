"""What a classifier's logits say, as a few ranked labels.

`softmax` is the shifted form, exp(x - max) / sum, which cannot overflow (Goodfellow, Bengio and
Courville, Deep Learning, section 4.1, https://www.deeplearningbook.org/contents/numerical.html).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headtail.errors import TensorMismatch, UsageFault
from headtail.tensors import Array

__all__ = ["Ranked", "softmax", "top_k"]


@dataclass(frozen=True)
class Ranked:
    """One class of the answer; `index` is its place in the logits, `probability` in [0, 1]."""

    label: str
    index: int
    probability: float


def softmax(logits: Array) -> npt.NDArray[np.float64]:
    """Probabilities along the last axis, float64, same shape as `logits`.

    Raises `TensorMismatch` for an empty array and for NaN or infinite logits: a broken model must
    not be shown as a confident one.
    """
    values = np.asarray(logits, np.float64)
    if values.size == 0 or not np.isfinite(values).all():
        raise TensorMismatch(
            f"The logits of shape {list(values.shape)} are empty or not all finite.",
            expected="Every logit is a finite number.",
            remedy="Run headtail verify on the bundle; it may overflow at this precision.",
        )
    exponents = np.exp(values - values.max(axis=-1, keepdims=True))
    probabilities: npt.NDArray[np.float64] = exponents / exponents.sum(axis=-1, keepdims=True)
    return probabilities


def top_k(logits: Array, labels: Sequence[str], k: int = 5) -> tuple[Ranked, ...]:
    """The `k` most probable classes of one sample, best first; ties go to the lower index.

    `logits` is (classes,) or any shape with one sample, such as (1, classes). Without `labels` the
    classes are called `class 7`. Fewer than `k` classes give fewer entries. Raises `UsageFault` for
    k < 1 and `TensorMismatch` if there are labels but not one per class.
    """
    if k < 1:
        raise UsageFault(
            f"The top {k} classes were asked for.", expected="k is at least 1.", remedy="Ask for 5."
        )
    probabilities = softmax(np.reshape(logits, -1))
    if labels and len(labels) != probabilities.size:
        raise TensorMismatch(
            f"The model gives {probabilities.size} values.",
            expected=f"Its {len(labels)} labels need one value each.",
            remedy="Export the bundle again with one label per class.",
        )
    order = np.argsort(-probabilities, kind="stable")[:k]
    return tuple(
        Ranked(labels[i] if labels else f"class {i}", int(i), float(probabilities[i]))
        for i in order
    )

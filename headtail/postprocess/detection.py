"""What a detector's boxes and scores say: a few labelled boxes without duplicates.

Duplicates go by greedy non-maximum suppression within each class: of two boxes that overlap by more
than an intersection over union of 0.5 (the measure of PASCAL VOC, Everingham et al., IJCV 2010,
https://doi.org/10.1007/s11263-009-0275-4), the one with the lower score is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headtail.errors import TensorMismatch
from headtail.tensors import Array

__all__ = ["Box", "Detection", "find_boxes", "suppress"]

Box = tuple[float, float, float, float]  # left, top, right, bottom
Floats = npt.NDArray[np.float32]
MOST_COMPARED = 300  # boxes with the highest scores; each pass compares one with all others
FRACTIONS = 2.0  # coordinates up to here are fractions, which may stick out of the picture a little


@dataclass(frozen=True)
class Detection:
    """One thing found: `index` is its class, `box` is in [0, 1] of what the model saw."""

    label: str
    index: int
    probability: float
    box: Box


def suppress(boxes: Floats, scores: Floats, *, overlap: float = 0.5) -> npt.NDArray[np.intp]:
    """Indices of the boxes that stay, best score first; ties go to the lower index.

    `boxes` is (n, 4) as left, top, right, bottom, `scores` (n,). A box is dropped when its
    intersection over union with one that stays is more than `overlap`.
    """
    order = np.argsort(-scores, kind="stable")
    areas = _areas(boxes)
    kept: list[int] = []
    while order.size:
        best, rest = int(order[0]), order[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[rest, :2])
        high = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = np.prod(np.maximum(high - low, 0), axis=1)
        # a product, not a quotient: two boxes without an area have none to share
        order = rest[shared <= overlap * (areas[best] + areas[rest] - shared)]
    return np.array(kept, np.intp)


def _areas(boxes: Floats) -> Floats:
    areas: Floats = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    return areas


def find_boxes(
    boxes: Array,
    scores: Array,
    labels: Sequence[str],
    *,
    size: tuple[int, int],
    least: float = 0.4,
    most: int = 20,
) -> tuple[Detection, ...]:
    """The best `most` boxes with a probability of at least `least`, best first, one class each.

    `boxes` is (1, n, 4) as left, top, right, bottom: fractions of what the model saw, or its
    pixels, which is so where any coordinate is above 2; `size` is its (height, width). `scores` is
    (1, n, classes) in [0, 1]. Boxes are clipped to what the model saw, and those without an area
    are no answer. Raises `TensorMismatch` for scores out of range, for values that are not finite,
    and if there are labels but not one per class.
    """
    places, chances = _checked(boxes, scores, labels)
    if places.size and places.max() > FRACTIONS:
        places = np.divide(places, np.array([size[1], size[0]] * 2), dtype=np.float32)
    places = np.asarray(np.clip(places, 0, 1), np.float32)
    classes = chances.argmax(axis=1) if chances.size else np.zeros(0, np.intp)
    best = chances.max(axis=1) if chances.size else np.zeros(0, np.float32)
    likely = np.flatnonzero((best >= least) & (_areas(places) > 0))
    likely = likely[np.argsort(-best[likely], kind="stable")][:MOST_COMPARED]
    # classes are moved apart, so that boxes of different ones never overlap
    apart = places[likely] + 2 * classes[likely, None].astype(np.float32)
    kept = likely[suppress(apart, best[likely])][:most]
    return tuple(_detection(places[i], int(classes[i]), float(best[i]), labels) for i in kept)


def _detection(place: Floats, index: int, probability: float, labels: Sequence[str]) -> Detection:
    left, top, right, bottom = (float(value) for value in place)
    label = labels[index] if labels else f"class {index}"
    return Detection(label, index, probability, (left, top, right, bottom))


def _checked(boxes: Array, scores: Array, labels: Sequence[str]) -> tuple[Floats, Floats]:
    places, chances = np.asarray(boxes[0], np.float32), np.asarray(scores[0], np.float32)
    whole = bool(np.isfinite(places).all() and np.isfinite(chances).all())
    if not whole or (chances.size and (chances.min() < 0 or chances.max() > 1)):
        raise TensorMismatch(
            "The scores of the boxes are not all in [0, 1], or something is not finite.",
            expected="Boxes are finite and scores are probabilities.",
            remedy="Apply the sigmoid or softmax inside the model, and run headtail verify.",
        )
    if labels and len(labels) != chances.shape[1]:
        raise TensorMismatch(
            f"The model gives {chances.shape[1]} scores for each box.",
            expected=f"Its {len(labels)} labels need one score each.",
            remedy="Export the bundle again with one label per class.",
        )
    return places, chances

"""What a segmentation network says: the class of every pixel, and how much each class takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headtail.errors import TensorMismatch
from headtail.tensors import Array

__all__ = ["Segment", "classes_of", "segments_of"]

Classes = npt.NDArray[np.uint8]
MOST_CLASSES = 256
LEAST_SHARE = 0.001  # of the picture; less is a speck that nobody sees
BACKGROUND = frozenset({"__background__", "background", "bg", "other", "unlabeled", "void"})


@dataclass(frozen=True)
class Segment:
    """One class of the mask; `share` of the picture in (0, 1] is its.

    `background` is what lies behind everything that the network names: it is not painted.
    """

    label: str
    index: int
    share: float
    background: bool


def classes_of(output: Array, *, layout: str) -> Classes:
    """The class of every pixel, (height, width) uint8.

    `output` is (1, height, width) with class indices, or one value for each class and pixel: (1,
    classes, height, width) where `layout` is NCHW, (1, height, width, classes) where it is NHWC.
    One class only: its logit, positive where it is (class 1, else 0). Raises `TensorMismatch` for
    values that are not finite and for more than 256 classes.
    """
    plane = output[0]
    if plane.ndim == 3 and layout == "NHWC":
        plane = np.moveaxis(plane, -1, 0)
    if not np.isfinite(plane).all():
        raise _refused("some values that are not finite", "Every value is a finite number.")
    if plane.ndim == 3 and plane.shape[0] == 1:
        return np.asarray(plane[0] > 0, np.uint8)
    found = plane if plane.ndim == 2 else plane.argmax(axis=0)
    if found.size and not 0 <= found.min() <= found.max() < MOST_CLASSES:
        raise _refused(
            f"class indices from {found.min()} to {found.max()}", "They are from 0 to 255."
        )
    return np.asarray(found, np.uint8)


def segments_of(classes: Classes, labels: Sequence[str]) -> tuple[Segment, ...]:
    """The classes that are there, largest first; ties go to the lower index.

    Without `labels` they are called `class 7`, and class 0 is taken for the background, as in the
    data sets that number it so; with labels the background is the one that is called that. Raises
    `TensorMismatch` if there are labels but none for a class that is there.
    """
    counts = np.bincount(classes.reshape(-1), minlength=1)
    if labels and counts.size > len(labels):
        raise _refused(f"class {counts.size - 1}", f"There are {len(labels)} labels.")
    shares = counts / max(1, classes.size)
    order = np.argsort(-shares, kind="stable")
    return tuple(
        _segment(int(i), float(shares[i]), labels) for i in order if shares[i] > LEAST_SHARE
    )


def _segment(index: int, share: float, labels: Sequence[str]) -> Segment:
    if not labels:
        return Segment(f"class {index}", index, share, background=index == 0)
    label = labels[index]
    return Segment(label, index, share, background=label.lower() in BACKGROUND)


def _refused(found: str, expected: str) -> TensorMismatch:
    return TensorMismatch(
        f"The mask has {found}.",
        expected=expected,
        remedy="Run headtail verify on the bundle, and export it again if it fails.",
    )

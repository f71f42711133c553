"""Which of the three kinds of answers a model gives, by the names and shapes of its outputs.

- one output (1, classes): scores of classes;
- `boxes` (1, n, 4) with `scores` (1, n, classes), as `find_boxes` reads them, or `pred_boxes` as
  centre, width and height in [0, 1] with `logits` of which the last class is "nothing": what the
  DETR family gives (https://huggingface.co/docs/transformers/model_doc/detr);
- one output (1, classes, height, width), or (1, height, width) of indices: the class of every
  pixel. Among several, the one called `out`, `mask`, `masks` or `logits`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headtail.errors import UsageFault
from headtail.manifest import Manifest
from headtail.postprocess.classification import Ranked, softmax, top_k
from headtail.postprocess.detection import Detection, find_boxes
from headtail.postprocess.segmentation import Segment, classes_of, segments_of
from headtail.preprocess import Preprocess
from headtail.tensors import Array, TensorSpec

__all__ = ["Answered", "Boxes", "Mask", "Ranking", "Reading", "classes_in", "reading_of", "task_of"]

MASK_NAMES = ("out", "mask", "masks", "logits")


@dataclass(frozen=True)
class Ranking:
    """The most probable classes of the whole picture, best first."""

    ranked: tuple[Ranked, ...]


@dataclass(frozen=True)
class Boxes:
    """What was found where, best first."""

    found: tuple[Detection, ...]

    @property
    def ranked(self) -> tuple[Ranked, ...]:
        """The same without their places."""
        return tuple(Ranked(d.label, d.index, d.probability) for d in self.found)


@dataclass(frozen=True, eq=False)
class Mask:
    """The class of every pixel of what the model saw, (height, width) uint8, and what is there."""

    classes: npt.NDArray[np.uint8]
    segments: tuple[Segment, ...]

    @property
    def ranked(self) -> tuple[Ranked, ...]:
        """What is there, largest first; `probability` is the share of the picture."""
        return tuple(Ranked(s.label, s.index, s.share) for s in self.segments)


Answered = Ranking | Boxes | Mask
Read = Callable[[Mapping[str, Array], Manifest, Preprocess], Answered]


@dataclass(frozen=True)
class Reading:
    """How the outputs of one model are read: `task` is its name, `__call__` reads."""

    task: str
    manifest: Manifest
    preprocess: Preprocess
    read: Read

    def __call__(self, outputs: Sequence[Array]) -> Answered:
        """The answer in `outputs`, which are in the manifest's order.

        Raises `TensorMismatch` for outputs that are no answer, such as NaN.
        """
        names = [spec.name for spec in self.manifest.outputs]
        return self.read(dict(zip(names, outputs, strict=True)), self.manifest, self.preprocess)


def reading_of(manifest: Manifest) -> Reading:
    """How to read this model; `UsageFault` says of any other kind what it gives."""
    task, read = _kind(manifest.outputs)
    if read is None or manifest.preprocess is None or len(manifest.inputs) != 1:
        given = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in manifest.outputs)
        raise UsageFault(
            f"{manifest.name} takes {len(manifest.inputs)} input(s) and gives {given}; the app "
            "does not know how to show that.",
            expected="Models that take one image and give [1, classes] (classification), boxes and "
            "scores (detection), or [1, classes, height, width] (segmentation).",
            remedy="Run it with headtail run, or open another bundle.",
        )
    return Reading(task, manifest, manifest.preprocess, read)


def task_of(outputs: Sequence[TensorSpec]) -> str:
    """`classification`, `detection` or `segmentation`; "" for outputs that are none of them."""
    return _kind(outputs)[0]


def classes_in(outputs: Sequence[TensorSpec], *, layout: str) -> int | None:
    """How many classes such outputs tell apart; None where nothing in their shapes says so."""
    shapes = {spec.name: spec.shape for spec in outputs}
    task = task_of(outputs)
    if task == "detection":
        return shapes["scores"][2] if "boxes" in shapes else shapes["logits"][2] - 1
    if task == "segmentation":
        shape = shapes[_mask_name(outputs)]
        return (shape[1] if layout == "NCHW" else shape[3]) if len(shape) == 4 else None
    return shapes[outputs[0].name][1] if task else None


def _kind(outputs: Sequence[TensorSpec]) -> tuple[str, Read | None]:
    shapes = {spec.name: spec.shape for spec in outputs}
    for places, scores, read in (
        ("boxes", "scores", _boxes),
        ("pred_boxes", "logits", _queries),
    ):
        if _belong(shapes.get(places, ()), shapes.get(scores, ())):
            return "detection", read
    if len(outputs) == 1 and len(outputs[0].shape) == 2 and outputs[0].shape[0] == 1:
        return "classification", _ranking
    name = _mask_name(outputs)
    if name:
        return "segmentation", lambda held, manifest, recipe: _mask(held[name], manifest, recipe)
    return "", None


def _belong(places: Sequence[int], scores: Sequence[int]) -> bool:
    return (
        len(places) == len(scores) == 3 and places[2] == 4 and list(places[:2]) == list(scores[:2])
    )


def _mask_name(outputs: Sequence[TensorSpec]) -> str:
    """The output with the mask, "" if there is none or nobody can tell which."""
    masks = [spec.name for spec in outputs if _is_mask(spec)]
    if len(masks) > 1:
        masks = [name for name in MASK_NAMES if name in masks]
    return masks[0] if masks else ""


def _is_mask(spec: TensorSpec) -> bool:
    planes = len(spec.shape) == 4 or (len(spec.shape) == 3 and spec.dtype[0] in "iu")
    return planes and spec.shape[0] == 1 and min(spec.shape) > 0


def _ranking(held: Mapping[str, Array], manifest: Manifest, _recipe: Preprocess) -> Answered:
    (logits,) = held.values()
    return Ranking(top_k(logits, manifest.labels))


def _boxes(held: Mapping[str, Array], manifest: Manifest, recipe: Preprocess) -> Answered:
    size = (recipe.height, recipe.width)
    return Boxes(find_boxes(held["boxes"], held["scores"], manifest.labels, size=size))


def _queries(held: Mapping[str, Array], manifest: Manifest, recipe: Preprocess) -> Answered:
    scores = softmax(held["logits"])[..., :-1]
    centre, extent = np.split(np.asarray(held["pred_boxes"], np.float32), 2, axis=-1)
    boxes = np.concatenate([centre - extent / 2, centre + extent / 2], axis=-1)
    return Boxes(find_boxes(boxes, scores, manifest.labels, size=(recipe.height, recipe.width)))


def _mask(output: Array, manifest: Manifest, recipe: Preprocess) -> Answered:
    classes = classes_of(output, layout=recipe.layout)
    return Mask(classes, segments_of(classes, manifest.labels))

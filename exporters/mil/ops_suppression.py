"""MIL non_maximum_suppression: iOS15 and iOS17.tensor_operation.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
What the pages leave open is taken from the reference in coremltools' own tests: a box counts with
its best class; where no box survives the best one is returned all the same; rows that are not
filled hold 0, and -1 as their index.
"""

from __future__ import annotations

import torch

from exporters.mil.optable import Arguments, operation


@operation(
    "non_maximum_suppression",
    required="boxes scores iou_threshold max_boxes",
    optional={"score_threshold": None, "per_class_suppression": False},
)
def non_maximum_suppression(a: Arguments) -> tuple[torch.Tensor, ...]:
    """Boxes (n, B, 4) as centre x, y, width, height and scores (n, B, K); four results in iOS15.

    With iOS17 the boxes are the last axis of both, there is no score_threshold, and the fourth
    result, how many boxes were selected, is gone.
    """
    boxes, scores = a.tensor("boxes"), a.tensor("scores")
    old = a.optional_tensor("score_threshold") is not None
    if not old:
        boxes, scores = boxes.transpose(1, 2), scores.transpose(1, 2)
    count = a.integer("max_boxes")
    places = torch.full((boxes.shape[0], count), -1, dtype=torch.int32)
    for image in range(boxes.shape[0]):
        chosen = _survivors(a, boxes[image], scores[image])[:count]
        places[image, : len(chosen)] = torch.tensor(chosen, dtype=torch.int32)
    picked = [_rows(rows, places) for rows in (boxes, scores)]
    if not old:
        return picked[0].transpose(1, 2), picked[1].transpose(1, 2), places
    return picked[0], picked[1], places, (places >= 0).sum(1)


def _rows(rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """rows [n, B, k] at places [n, m]; 0 where the place is -1."""
    at = places.clamp(min=0).long().unsqueeze(-1).expand(-1, -1, rows.shape[-1])
    return torch.where(places.unsqueeze(-1) < 0, 0.0, rows.gather(1, at))


def _survivors(a: Arguments, boxes: torch.Tensor, scores: torch.Tensor) -> list[int]:
    """Indices of the boxes of one image that are kept, the best first."""
    best, classes = scores.max(1)
    order = best.argsort(descending=True, stable=True).tolist()
    lowest = -torch.inf
    if a.optional_tensor("score_threshold") is not None:
        lowest = a.number("score_threshold")
    overlaps, limit = _overlaps(boxes), a.number("iou_threshold")
    per_class = a.flag("per_class_suppression")
    kept: list[int] = []
    for i in order:
        if best[i] < lowest:
            break
        rivals = [j for j in kept if not per_class or classes[j] == classes[i]]
        if not any(overlaps[i, j] > limit for j in rivals):
            kept.append(i)
    return kept or order[:1]


def _overlaps(boxes: torch.Tensor) -> torch.Tensor:
    """Intersection over union of each pair of boxes [B, 4]; [B, B]."""
    centre, size = boxes[:, None, :2], boxes[:, None, 2:]
    low, high = centre - size / 2, centre + size / 2
    sides = torch.minimum(high, high.transpose(0, 1)) - torch.maximum(low, low.transpose(0, 1))
    shared = sides.clamp(min=0).prod(-1)
    area = size.prod(-1)
    return shared / (area + area.transpose(0, 1) - shared)

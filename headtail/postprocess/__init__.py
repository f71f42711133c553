"""Tensors to answers: ranked classes, labelled boxes, or a class at every pixel."""

from headtail.postprocess.classification import Ranked, softmax, top_k
from headtail.postprocess.detection import Box, Detection, find_boxes, suppress
from headtail.postprocess.reading import (
    Answered,
    Boxes,
    Mask,
    Ranking,
    Reading,
    classes_in,
    reading_of,
    task_of,
)
from headtail.postprocess.segmentation import Segment, classes_of, segments_of

__all__ = [
    "Answered",
    "Box",
    "Boxes",
    "Detection",
    "Mask",
    "Ranked",
    "Ranking",
    "Reading",
    "Segment",
    "classes_in",
    "classes_of",
    "find_boxes",
    "reading_of",
    "segments_of",
    "softmax",
    "suppress",
    "task_of",
    "top_k",
]

import dataclasses

import numpy as np
import pytest

from headtail.errors import UsageFault
from headtail.postprocess import Boxes, Mask, Ranking, classes_in, reading_of, task_of
from headtail.tensors import TensorSpec
from tests.support.bundles import golden_tensors, manifest_of


def spec(name, *shape, dtype="f32"):
    return TensorSpec(name, dtype, shape)


BOXES = (spec("boxes", 1, 5, 4), spec("scores", 1, 5, 3))
DETR = (spec("logits", 1, 5, 4), spec("pred_boxes", 1, 5, 4), spec("hidden", 1, 5, 16))


@pytest.fixture(scope="module")
def manifest():
    return manifest_of(golden_tensors(), name="tiny")


@pytest.mark.parametrize(
    ("outputs", "task", "classes"),
    [
        ((spec("x", 1, 10),), "classification", 10),
        (BOXES, "detection", 3),
        (DETR, "detection", 3),
        ((spec("anything", 1, 21, 8, 8),), "segmentation", 21),
        ((spec("out", 1, 21, 8, 8), spec("aux", 1, 21, 8, 8)), "segmentation", 21),
        ((spec("mask", 1, 8, 8, dtype="i32"),), "segmentation", None),
        ((spec("x", 1, 10), spec("y", 1, 10)), "", None),
        ((spec("a", 1, 3, 8, 8), spec("b", 1, 3, 8, 8)), "", None),
        ((spec("x", 2, 10),), "", None),
        ((spec("boxes", 1, 5, 4), spec("scores", 1, 6, 3)), "", None),
    ],
)
def test_the_task_is_told_by_names_and_shapes(outputs, task, classes):
    assert task_of(outputs) == task
    assert classes_in(outputs, layout="NCHW") == classes


def reading(manifest, outputs, labels=()):
    return reading_of(dataclasses.replace(manifest, outputs=outputs, labels=labels))


def test_a_classifier_is_ranked(manifest):
    answer = reading_of(manifest)([np.array([[0.0, 3.0, 1.0]], np.float32)])
    assert isinstance(answer, Ranking)
    assert [item.label for item in answer.ranked] == ["dog", "ship", "cat"]


def test_boxes_are_found_whatever_the_order_of_the_outputs(manifest):
    boxes = np.zeros((1, 5, 4), np.float32)
    boxes[0, 2] = (0.25, 0, 0.5, 1)
    scores = np.zeros((1, 5, 3), np.float32)
    scores[0, 2, 1] = 0.9
    answer = reading(manifest, BOXES[::-1], ("a", "b", "c"))([scores, boxes])
    assert isinstance(answer, Boxes)
    assert [(item.label, item.box) for item in answer.found] == [("b", (0.25, 0, 0.5, 1))]
    assert answer.ranked[0].label == "b"


def test_queries_have_centres_and_a_last_class_that_is_nothing(manifest):
    logits = np.zeros((1, 5, 4), np.float32)
    logits[..., 3] = 9.0  # nothing
    logits[0, 1] = (0, 9.0, 0, 0)
    boxes = np.full((1, 5, 4), 0.5, np.float32)
    boxes[0, 1] = (0.5, 0.25, 0.5, 0.5)
    answer = reading(manifest, DETR)([logits, boxes, np.zeros((1, 5, 16), np.float32)])
    assert isinstance(answer, Boxes)
    assert [(item.label, item.box) for item in answer.found] == [
        ("class 1", (0.25, 0.0, 0.75, 0.5))
    ]


def test_a_mask_carries_its_legend(manifest):
    planes = np.zeros((1, 2, 4, 4), np.float32)
    planes[0, 1, :2] = 1
    answer = reading(manifest, (spec("out", 1, 2, 4, 4),), ("background", "cat"))([planes])
    assert isinstance(answer, Mask)
    assert (answer.classes[:2] == 1).all()
    assert [(item.label, item.probability) for item in answer.ranked] == [
        ("background", 0.5),
        ("cat", 0.5),
    ]


def test_other_models_are_refused_in_one_sentence_about_what_they_give(manifest):
    two = dataclasses.replace(manifest, inputs=manifest.inputs * 2)
    blind = dataclasses.replace(manifest, preprocess=None)
    odd = dataclasses.replace(manifest, outputs=(spec("x", 1, 4, 4),))
    for wrong, said in ((two, r"takes 2 input"), (blind, "logits"), (odd, r"gives x \[1, 4, 4\]")):
        with pytest.raises(UsageFault, match=said):
            reading_of(wrong)

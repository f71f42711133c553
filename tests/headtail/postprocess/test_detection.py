"""Boxes against a reference that is written as plainly as the definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.errors import TensorMismatch
from headtail.postprocess import find_boxes, suppress

WHOLE = (100, 200)  # height, width of what the model saw


def overlap(one, other):
    """Intersection over union."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    union = sum(areas) - shared
    return shared / union if union > 0 else 0.0


def plain_suppress(boxes, scores, limit):
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(overlap(boxes[i], boxes[k]) <= limit for k in kept):
            kept.append(i)
    return kept


@st.composite
def scored_boxes(draw):
    # eighths are exact in float32, so that both sides see the same overlaps
    eighth = st.integers(0, 16)
    corners = draw(st.lists(st.tuples(eighth, eighth, eighth, eighth), max_size=30))
    boxes = [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in corners]
    scores = draw(st.lists(st.integers(0, 8), min_size=len(boxes), max_size=len(boxes)))
    shape = (len(boxes), 4)
    return np.array(boxes, np.float32).reshape(shape) / 8, np.array(scores, np.float32) / 8


@given(scored_boxes(), st.sampled_from([0.0, 0.25, 0.5, 0.75]))
@settings(deadline=None, max_examples=200)
def test_suppression_is_the_plain_one(pair, limit):
    boxes, scores = pair
    assert suppress(boxes, scores, overlap=limit).tolist() == plain_suppress(boxes, scores, limit)


def found(boxes, scores, labels=("cat", "dog"), **options):
    return find_boxes(
        np.array([boxes], np.float32), np.array([scores], np.float32), labels, size=WHOLE, **options
    )


def test_duplicates_go_within_a_class_and_stay_between_classes():
    box, shifted = (0.1, 0.1, 0.5, 0.5), (0.12, 0.1, 0.52, 0.5)
    answer = found([box, shifted, box], [[0.9, 0], [0.8, 0], [0, 0.7]])
    assert [(item.label, item.index) for item in answer] == [("cat", 0), ("dog", 1)]
    assert answer[0].probability == pytest.approx(0.9)
    assert answer[0].box == pytest.approx(box)


def test_pixels_are_told_from_fractions():
    (pixels,) = found([(20, 10, 100, 50)], [[0.9, 0]])
    (fractions,) = found([(0.1, 0.1, 0.5, 0.5)], [[0.9, 0]])
    assert pixels.box == pytest.approx(fractions.box)


def test_what_sticks_out_is_clipped_and_what_has_no_area_is_dropped():
    answer = found([(-0.2, 0.5, 0.5, 1.3), (0.3, 0.3, 0.3, 0.9)], [[0.9, 0], [0.9, 0]])
    assert [item.box for item in answer] == [pytest.approx((0.0, 0.5, 0.5, 1.0))]


def test_unlikely_boxes_are_left_out_and_the_best_come_first():
    boxes = [(0.1 * i, 0, 0.1 * i + 0.05, 1) for i in range(8)]
    scores = [[0.3 + 0.05 * i, 0] for i in range(8)]
    answer = found(boxes, scores, most=3)
    assert [round(item.probability, 2) for item in answer] == [0.65, 0.6, 0.55]
    assert len(found(boxes, scores)) == 6


def test_without_labels_classes_have_numbers():
    assert found([(0, 0, 1, 1)], [[0, 0.9]], labels=())[0].label == "class 1"


def test_no_box_at_all_is_an_answer():
    empty = find_boxes(np.zeros((1, 0, 4)), np.zeros((1, 0, 2)), ("cat", "dog"), size=WHOLE)
    assert empty == ()


@pytest.mark.parametrize(
    ("boxes", "scores", "said"),
    [
        ([(0, 0, 1, 1)], [[1.5, 0]], "not all in"),
        ([(0, 0, 1, 1)], [[-0.1, 0]], "not all in"),
        ([(0, 0, np.nan, 1)], [[0.5, 0]], "not finite"),
        ([(0, 0, 1, 1)], [[0.5, 0, 0]], "3 scores for each box"),
    ],
)
def test_what_no_detector_means_is_refused(boxes, scores, said):
    with pytest.raises(TensorMismatch, match=said):
        found(boxes, scores)

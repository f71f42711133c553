import numpy as np
import pytest

from headtail.errors import TensorMismatch
from headtail.postprocess import classes_of, segments_of

WANTED = np.array([[0, 1, 2], [2, 2, 0]], np.uint8)


def logits(classes=3):
    one_hot = np.eye(classes, dtype=np.float32)[WANTED]  # (2, 3, classes)
    return np.moveaxis(one_hot, -1, 0)[None]


def test_every_pixel_gets_its_best_class_in_both_layouts():
    planes = logits()
    np.testing.assert_array_equal(classes_of(planes, layout="NCHW"), WANTED)
    last = np.moveaxis(planes, 1, -1)
    np.testing.assert_array_equal(classes_of(last, layout="NHWC"), WANTED)


def test_indices_are_taken_as_they_are():
    answer = classes_of(WANTED[None].astype(np.int32), layout="NCHW")
    np.testing.assert_array_equal(answer, WANTED)
    assert answer.dtype == np.uint8


def test_one_plane_is_the_logit_of_the_only_class():
    plane = np.array([[-1.0, 0.0, 0.5]], np.float32)[None, None]
    np.testing.assert_array_equal(classes_of(plane, layout="NCHW"), [[0, 0, 1]])


def test_shares_come_largest_first_and_the_background_is_known():
    parts = segments_of(WANTED, ("background", "cat", "sky"))
    assert [(p.label, p.index, round(p.share, 3), p.background) for p in parts] == [
        ("sky", 2, 0.5, False),
        ("background", 0, 0.333, True),
        ("cat", 1, 0.167, False),
    ]


def test_without_labels_class_0_is_the_background():
    parts = segments_of(WANTED, ())
    assert {p.label: p.background for p in parts} == {
        "class 2": False,
        "class 0": True,
        "class 1": False,
    }


def test_where_class_0_has_another_name_it_is_no_background():
    assert not any(p.background for p in segments_of(WANTED, ("road", "car", "sky")))


def test_a_speck_is_not_named():
    classes = np.zeros((100, 100), np.uint8)
    classes[0, 0] = 1
    assert [p.index for p in segments_of(classes, ())] == [0]


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (np.full((1, 2, 3, 3), np.nan, np.float32), "not finite"),
        (np.full((1, 3, 3), 300, np.int32), "indices from 300"),
        (np.full((1, 3, 3), -1, np.int32), "indices from -1"),
    ],
)
def test_what_no_mask_means_is_refused(output, said):
    with pytest.raises(TensorMismatch, match=said):
        classes_of(output, layout="NCHW")


def test_a_class_without_a_label_is_refused():
    with pytest.raises(TensorMismatch, match="class 2"):
        segments_of(WANTED, ("a", "b"))

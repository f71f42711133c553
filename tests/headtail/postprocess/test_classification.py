import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from headtail.errors import TensorMismatch, UsageFault
from headtail.postprocess import Ranked, softmax, top_k

LOGITS = arrays(
    np.float32, st.integers(1, 40), elements=st.floats(-80, 80, width=32, allow_nan=False)
)


def test_softmax_of_known_logits():
    np.testing.assert_allclose(
        softmax(np.log(np.array([[1.0, 2.0, 5.0]]))), [[0.125, 0.25, 0.625]], rtol=1e-12
    )


def test_softmax_of_huge_logits_does_not_overflow():
    np.testing.assert_allclose(softmax(np.array([1e4, 1e4], np.float32)), [0.5, 0.5])


@given(LOGITS)
@settings(deadline=None, max_examples=50)
def test_softmax_is_a_distribution_in_the_order_of_the_logits(logits):
    probabilities = softmax(logits)
    assert probabilities.sum() == pytest.approx(1.0)
    assert probabilities[int(np.argmax(logits))] == probabilities.max()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_softmax_refuses_what_a_broken_model_gives(bad):
    with pytest.raises(TensorMismatch, match="not all finite"):
        softmax(np.array([0.0, bad]))


def test_softmax_refuses_nothing_at_all():
    with pytest.raises(TensorMismatch, match="empty"):
        softmax(np.zeros((1, 0)))


def test_top_k_is_best_first_with_labels_of_the_original_index():
    ranked = top_k(np.log(np.array([[1.0, 5.0, 2.0]])), ["ant", "bee", "cat"], k=2)
    assert [(r.label, r.index) for r in ranked] == [("bee", 1), ("cat", 2)]
    assert [r.probability for r in ranked] == pytest.approx([0.625, 0.25])


def test_top_k_breaks_ties_by_index_and_stops_at_the_number_of_classes():
    assert [r.index for r in top_k(np.zeros(3), [])] == [0, 1, 2]


def test_top_k_names_classes_without_labels():
    assert top_k(np.array([0.0]), []) == (Ranked("class 0", 0, 1.0),)


def test_top_k_refuses_labels_that_do_not_fit_and_a_k_of_zero():
    with pytest.raises(TensorMismatch, match=r"gives 3 values\. Its 2 labels"):
        top_k(np.zeros(3), ["a", "b"])
    with pytest.raises(UsageFault, match="top 0 classes"):
        top_k(np.zeros(3), [], k=0)

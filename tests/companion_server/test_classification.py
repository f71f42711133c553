import numpy as np
import pytest

from companion_server.classification import top_classes

ROWS = np.array([[0.1, 0.5, 0.5, -2.0], [4.0, 1e-9, 3.0, np.nan]], np.float32)


def test_the_largest_first_and_equals_by_index():
    found = top_classes(ROWS, 3, ())
    assert found.tolist() == [["0.5:1", "0.5:2", "0.1:0"], ["4.0:0", "3.0:2", "1e-09:1"]]


def test_more_than_there_are_means_all_and_nan_is_last():
    found = top_classes(ROWS, 99, ())
    assert found.shape == (2, 4)
    assert found[1, -1] == "nan:3"


def test_labels_are_used_if_there_is_one_for_each_value():
    assert top_classes(ROWS, 1, ("cat", "dog", "cow", "ant"))[0, 0] == "0.5:1:dog"
    assert top_classes(ROWS, 1, ("cat", "dog"))[0, 0] == "0.5:1"


def test_a_sample_of_any_rank_is_indexed_row_major():
    image = np.zeros((1, 2, 3), np.float32)
    image[0, 1, 2] = 7
    assert top_classes(image, 1, ()).tolist() == [["7.0:5"]]


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int8, np.uint64])
def test_values_read_back_as_the_same_number(dtype):
    row = np.arange(1, 100, 7).astype(dtype)[None]
    for text in top_classes(row, 99, ())[0]:
        value, index = text.split(":")
        assert dtype(float(value)) == row[0, int(index)]


def test_a_bool_is_true_first():
    assert top_classes(np.array([[False, True]]), 2, ()).tolist() == [["1:1", "0:0"]]

"""Slicing and gathering, by literal results."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from .calling import call, image


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"begin": [1], "end": [4]}, [1, 2, 3]),
        ({"begin": [-3], "end": [-1]}, [3, 4]),
        ({"begin": [9], "end": [0], "begin_mask": [True], "end_mask": [True]}, [0, 1, 2, 3, 4, 5]),
        ({"begin": [0], "end": [6], "stride": [4]}, [0, 4]),
        ({"begin": [4], "end": [1], "stride": [-2]}, [4, 2]),
        ({"begin": [0], "end": [0], "stride": [-1], "begin_mask": [True], "end_mask": [True]},
         [5, 4, 3, 2, 1, 0]),
        ({"begin": [-2], "end": [0], "squeeze_mask": [True]}, 4),
    ],
)  # fmt: skip
def test_slice_by_index(attributes: dict[str, Any], expected: object) -> None:
    assert call("slice_by_index", x=image(6), **attributes).tolist() == expected


def test_slice_by_size() -> None:
    y = call("slice_by_size", x=image(3, 4), begin=[1, -2], size=[-1, 1])
    assert y.tolist() == [[6], [10]]


def test_gather() -> None:
    x = image(2, 3)
    assert call("gather", x=x, indices=[2, 0], axis=1).tolist() == [[2, 0], [5, 3]]
    assert call("gather", x=x, indices=1).tolist() == [3, 4, 5]
    batched = call("gather", x=x, indices=[[2, 2], [0, 1]], axis=1, batch_dims=1)
    assert batched.tolist() == [[2, 2], [3, 4]]
    assert call("gather", x=x, indices=[-1], axis=1, opset=6).tolist() == [[2], [5]]


@pytest.mark.parametrize("index", [3, -1])
def test_an_index_out_of_range_is_refused_since_ios17(index: int) -> None:
    with pytest.raises(ValueError, match=f"from {index} to {index} for size 3"):
        call("gather", x=image(2, 3), indices=[index], axis=1)


def test_gather_relatives() -> None:
    x = image(2, 3)
    along = call("gather_along_axis", x=x, indices=[[2], [1]], axis=1)
    assert along.tolist() == [[2], [4]]
    assert call("gather_nd", x=x, indices=[[1, 2], [0, 0]]).tolist() == [5, 0]
    assert call("gather_nd", x=x, indices=[[1], [0]], batch_dims=1).tolist() == [1, 3]


def test_crop() -> None:
    assert call("crop", x=image(1, 3, 3), crop_height=[1, 0], crop_width=[0, 2]).tolist() == [
        [[3], [6]]
    ]


def test_ordering() -> None:
    x = torch.tensor([3.0, 1.0, 2.0])
    values, places = call("topk", x=x, k=2)
    assert (values.tolist(), places.tolist()) == ([3, 2], [0, 2])
    (lowest,) = call("topk", x=x, k=-1, ascending=True, return_indices=False)
    assert lowest.tolist() == [1, 2, 3]
    assert call("argsort", x=x).tolist() == [0, 2, 1]
    assert call("argsort", x=x, ascending=True).tolist() == [1, 2, 0]

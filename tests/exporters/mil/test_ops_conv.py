"""Convolution and pooling against sums written out: padding kinds, ceil mode, divisors."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from .calling import call, image

ONES3 = torch.ones(1, 1, 3)
ROW = image(1, 1, 6)  # 0 1 2 3 4 5


def rows(tensor: torch.Tensor) -> list[float]:
    values: list[float] = tensor.flatten().tolist()
    return values


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"pad_type": "valid"}, [3, 6, 9, 12]),
        ({"pad_type": "custom", "pad": [1, 0]}, [1, 3, 6, 9, 12]),
        ({"pad_type": "custom", "pad": [0, 2]}, [3, 6, 9, 12, 9, 5]),
        ({"pad_type": "same"}, [1, 3, 6, 9, 12, 9]),
        ({"pad_type": "same", "strides": [2]}, [3, 9, 9]),
        ({"pad_type": "same_lower", "strides": [2]}, [1, 6, 12]),
        ({"pad_type": "same", "dilations": [2]}, [2, 4, 6, 9, 6, 8]),
        ({"bias": [0.5]}, [3.5, 6.5, 9.5, 12.5]),
    ],
)
def test_conv(attributes: dict[str, Any], expected: list[float]) -> None:
    assert rows(call("conv", x=ROW, weight=ONES3, **attributes)) == expected


@pytest.mark.parametrize("operator", ["conv", "conv_transpose"])
def test_padding_that_pad_type_forbids_is_refused(operator: str) -> None:
    with pytest.raises(ValueError, match=r"pad is \[1, 1\] although pad_type is 'valid'"):
        call(operator, x=ROW, weight=ONES3, pad_type="valid", pad=[1, 1])
    with pytest.raises(ValueError, match="pad_type 'full' is unknown"):
        call(operator, x=ROW, weight=ONES3, pad_type="full")


def test_conv_groups() -> None:
    x = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    y = call("conv", x=x, weight=torch.tensor([[[10.0]], [[100.0]]]), groups=2)
    assert y.tolist() == [[[10, 20], [300, 400]]]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, [1, 3, 6, 5, 3]),
        ({"strides": [2]}, [1, 1, 3, 2, 5, 3, 3]),
        ({"pad_type": "custom", "pad": [1, 0]}, [3, 6, 5, 3]),
        ({"pad_type": "custom", "pad": [1, 1]}, [3, 6, 5]),
        ({"pad_type": "same", "strides": [2]}, [1, 1, 3, 2, 5, 3]),
        (
            {"output_shape": [1, 1, 8], "strides": [2], "bias": [9.0]},
            [10, 10, 12, 11, 14, 12, 12, 9],
        ),
        ({"output_shape": [1, 1, 4], "pad_type": "custom", "pad": [1, 1]}, [3, 6, 5, 3]),
    ],
)
def test_conv_transpose(attributes: dict[str, Any], expected: list[float]) -> None:
    x = torch.tensor([[[1.0, 2.0, 3.0]]])
    assert rows(call("conv_transpose", x=x, weight=ONES3, **attributes)) == expected


MORE = image(1, 1, 5) + 1  # 1 2 3 4 5


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, [1.5, 3.5]),
        ({"ceil_mode": True}, [1.5, 3.5, 5]),
        ({"pad_type": "custom", "pad": [1, 1]}, [0.5, 2.5, 4.5]),
        (
            {"pad_type": "custom", "pad": [1, 1], "exclude_padding_from_average": True},
            [1, 2.5, 4.5],
        ),
        ({"pad_type": "same"}, [1.5, 3.5, 2.5]),
        ({"pad_type": "same", "exclude_padding_from_average": True}, [1.5, 3.5, 5]),
        ({"pad_type": "same_lower"}, [0.5, 2.5, 4.5]),
    ],
)
def test_avg_pool(attributes: dict[str, Any], expected: list[float]) -> None:
    attributes = {"pad_type": "valid", **attributes}
    assert rows(call("avg_pool", x=MORE, kernel_sizes=[2], strides=[2], **attributes)) == expected


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"pad_type": "valid"}, [-2, -3]),
        ({"pad_type": "valid", "ceil_mode": True}, [-2, -3, -5]),
        ({"pad_type": "custom", "pad": [1, 1]}, [-9, -2, -4]),
        ({"pad_type": "same"}, [-2, -3, -5]),
    ],
)
def test_padding_never_wins_a_max_pool(attributes: dict[str, Any], expected: list[float]) -> None:
    x = torch.tensor([[[-9.0, -2.0, -3.0, -4.0, -5.0]]])
    assert rows(call("max_pool", x=x, kernel_sizes=[2], strides=[2], **attributes)) == expected


def test_ceil_mode_needs_symmetric_padding() -> None:
    with pytest.raises(ValueError, match="symmetric padding, not 1 and 0"):
        call("max_pool", x=MORE, kernel_sizes=[2], pad_type="custom", pad=[1, 0], ceil_mode=True)

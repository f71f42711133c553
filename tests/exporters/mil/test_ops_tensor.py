"""Operators that build and rearrange tensors, by literal results."""

from __future__ import annotations

import pytest
import torch

from .calling import call, image


@pytest.mark.parametrize(
    ("shape", "opset", "expected"),
    [
        ([2, 6], 8, (2, 6)),
        ([-1, 4], 8, (3, 4)),
        ([0, -1], 8, (3, 4)),
        ([0, -1], 6, (3, 4)),
        ([1, 0, -1, 0], 8, (1, 1, 3, 4)),  # zeros are matched from the right since iOS17
        ([0, 3, -1], 8, (1, 3, 4)),
    ],
)
def test_reshape(shape: list[int], opset: int, expected: tuple[int, ...]) -> None:
    assert call("reshape", x=image(3, 4), shape=shape, opset=opset).shape == expected


def test_before_ios17_a_zero_needs_equal_ranks() -> None:
    with pytest.raises(ValueError, match="another rank"):
        call("reshape", x=image(3, 4), shape=[0, -1, 4], opset=6)


def test_reshape_to_a_scalar() -> None:
    assert call("reshape", x=image(1, 1), shape=torch.zeros(0, dtype=torch.int32)).shape == ()


@pytest.mark.parametrize(
    ("mode", "pad", "expected"),
    [
        ("constant", [1, 2], [7, 0, 1, 2, 7, 7]),
        ("reflect", [2, 1], [2, 1, 0, 1, 2, 1]),
        ("replicate", [2, 1], [0, 0, 0, 1, 2, 2]),
    ],
)
def test_pad(mode: str, pad: list[int], expected: list[float]) -> None:
    assert call("pad", x=image(3), pad=pad, mode=mode, constant_val=7.0).tolist() == expected


def test_pad_lists_axes_first_to_last() -> None:
    assert call("pad", x=image(2, 3), pad=[1, 0, 0, 2]).shape == (3, 5)


def test_reflecting_more_than_there_is_is_refused() -> None:
    with pytest.raises(ValueError, match="reflecting 3, 0 needs more than 3 elements"):
        call("pad", x=image(3), pad=[3, 0], mode="reflect")


def test_concat() -> None:
    a, b = image(2, 2), image(2, 2) + 10
    assert call("concat", values=(a, b), axis=-1).tolist() == [[0, 1, 10, 11], [2, 3, 12, 13]]
    interleaved = call("concat", values=(a, b), axis=0, interleave=True)
    assert interleaved.tolist() == [[0, 1], [10, 11], [2, 3], [12, 13]]
    assert call("concat", values=(torch.tensor(1.0), torch.tensor(2.0)), axis=0).tolist() == [1, 2]
    assert call("concat", values=a, axis=0).tolist() == a.tolist()


def test_split() -> None:
    assert [t.tolist() for t in call("split", x=image(4), axis=0, num_splits=2)] == [[0, 1], [2, 3]]
    parts = call("split", x=image(4), axis=-1, split_sizes=[1, 3])
    assert [t.tolist() for t in parts] == [[0], [1, 2, 3]]
    with pytest.raises(ValueError, match="4 cannot be split into 3 equal parts"):
        call("split", x=image(4), axis=0, num_splits=3)


def test_axes_of_size_one() -> None:
    assert call("expand_dims", x=image(2, 3), axes=[0, -1]).shape == (1, 2, 3, 1)
    assert call("squeeze", x=image(1, 2, 1)).shape == (2,)
    assert call("squeeze", x=image(1, 2, 1), axes=[-1]).shape == (1, 2)
    assert call("squeeze", x=image(1, 2, 1), axes=[0, 1]).shape == (2, 1)


def test_making_tensors() -> None:
    assert call("fill", shape=[2], value=3).dtype == torch.int32
    assert call("fill", shape=[2]).tolist() == [0.0, 0.0]
    assert call("fill_like", ref_tensor=image(2, 1), value=True).tolist() == [[True], [True]]
    assert call("range_1d", start=1.0, end=2.0, step=0.5).tolist() == [1.0, 1.5]
    assert call("shape", x=image(2, 3)).tolist() == [2, 3]


def test_rearranging() -> None:
    assert call("transpose", x=image(2, 3), perm=[1, 0]).tolist() == [[0, 3], [1, 4], [2, 5]]
    assert call("tile", x=image(2), reps=[2]).tolist() == [0, 1, 0, 1]
    assert call("reverse", x=image(2, 2), axes=[1]).tolist() == [[1, 0], [3, 2]]
    assert call("stack", values=(image(2), image(2)), axis=1).tolist() == [[0, 0], [1, 1]]
    assert call("flatten2d", x=image(2, 3, 4)).shape == (2, 12)
    assert call("flatten2d", x=image(2, 3, 4), axis=-1).shape == (6, 4)
    assert call("band_part", x=image(2, 2) + 1, lower=0).tolist() == [[1, 2], [0, 4]]
    assert call("band_part", x=image(2, 2) + 1, upper=0).tolist() == [[1, 0], [3, 4]]

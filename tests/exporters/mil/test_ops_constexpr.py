"""Compressed constants: the examples of the MIL page and packed codes written out."""

from __future__ import annotations

import pytest
import torch

from .calling import call

BYTES = torch.uint8


def test_affine_per_channel_and_per_tensor() -> None:
    data = torch.tensor([[1, 2], [3, 4]], dtype=torch.int8)
    scale, zero = torch.tensor([1.0, 0.5]), torch.tensor([1, 1], dtype=torch.int8)
    y = call(
        "constexpr_affine_dequantize", quantized_data=data, zero_point=zero, scale=scale, axis=1
    )
    assert y.tolist() == [[0, 0.5], [2, 1.5]]
    y = call("constexpr_affine_dequantize", quantized_data=data, zero_point=1, scale=2.0, axis=0)
    assert y.tolist() == [[0, 2], [4, 6]]


def test_no_wrap_around_when_the_zero_point_is_subtracted() -> None:
    data = torch.tensor([0, 255], dtype=BYTES)
    zero = torch.tensor(128, dtype=BYTES)
    y = call("constexpr_affine_dequantize", quantized_data=data, zero_point=zero, scale=1.0, axis=0)
    assert y.tolist() == [-128, 127]


def test_blockwise() -> None:
    data = torch.tensor([[1, 2, 3, 4]], dtype=torch.int8)
    scale, offset = torch.tensor([[1.0, 10.0]]), torch.tensor([[0, 1]], dtype=torch.int8)
    y = call("constexpr_blockwise_shift_scale", data=data, scale=scale, offset=offset)
    assert y.tolist() == [[1, 2, 20, 30]]
    with pytest.raises(ValueError, match="3 blocks do not divide axis 1"):
        call("constexpr_blockwise_shift_scale", data=data, scale=torch.ones(1, 3))
    with pytest.raises(ValueError, match="another rank"):
        call("constexpr_blockwise_shift_scale", data=data, scale=torch.ones(2))


def test_ios16_palette_is_packed_from_the_lowest_bit() -> None:
    packed = torch.tensor([0b01_10_11_00, 0b11], dtype=BYTES)  # the page's example
    lut = torch.tensor([0.0, 10.0, 20.0, 30.0])
    y = call("constexpr_lut_to_dense", indices=packed, lut=lut, shape=[5])
    assert y.tolist() == [0, 30, 20, 10, 30]
    with pytest.raises(ValueError, match="2 bytes do not hold 9 codes of 2 bits"):
        call("constexpr_lut_to_dense", indices=packed, lut=lut, shape=[9])


def test_ios18_palette_per_group() -> None:
    indices = torch.tensor([2, 3, 3, 0, 1, 0, 3, 0, 2, 1, 0, 3], dtype=BYTES).reshape(6, 2)
    lut = torch.tensor([1.0, 5, 9, 13, 2, 10, 18, 26]).reshape(2, 1, 4, 1)
    y = call("constexpr_lut_to_dense", indices=indices, lut=lut)
    assert y.tolist() == [[9, 13], [13, 1], [5, 1], [26, 2], [18, 10], [2, 26]]


def test_ios18_palette_of_vectors() -> None:
    indices = torch.tensor([[[0, 0], [1, 0]], [[1, 1], [0, 0]]], dtype=BYTES)
    lut = torch.tensor([[1, 2, 3], [4, 5, 6]]).reshape(1, 1, 1, 2, 3)
    y = call("constexpr_lut_to_dense", indices=indices, lut=lut, vector_axis=1)
    assert y[0].tolist() == [[1, 1], [2, 2], [3, 3], [4, 1], [5, 2], [6, 3]]


def test_sparse() -> None:
    values = torch.tensor([3.0, 4.0])
    y = call("constexpr_sparse_to_dense", nonzero_data=values, mask=[0b0110], shape=[5])
    assert y.tolist() == [0, 3, 4, 0, 0]
    mask = torch.tensor([[0, 1], [1, 0]], dtype=BYTES)
    assert call("constexpr_sparse_to_dense", nonzero_data=values, mask=mask).tolist() == [
        [0, 3],
        [4, 0],
    ]
    with pytest.raises(ValueError, match="the mask has 1 ones for 2 values"):
        call("constexpr_sparse_to_dense", nonzero_data=values, mask=[0b1], shape=[5])


def test_sparse_values_are_scaled_as_in_the_dense_layout() -> None:
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0]], dtype=BYTES)
    data = torch.tensor([10, 11, 3, 4, 5, 6, 7, 8, 9], dtype=torch.int8)
    scale = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    offset = torch.tensor([[1, 2, 3, 4]], dtype=torch.int8)
    kept, y = call(
        "constexpr_sparse_blockwise_shift_scale",
        data_mask=mask, nonzero_data=data, scale=scale, offset=offset,
    )  # fmt: skip
    assert torch.equal(kept, mask)
    assert y.tolist() == pytest.approx([0.9, 1.8, 0.2, 0.4, 0.6, 0.9, 1.2, 0.7, 1.4])


def test_sparse_palette() -> None:
    mask = torch.tensor([[0, 1], [1, 0]], dtype=BYTES)
    lut = torch.tensor([2.0, 3.0]).reshape(1, 1, 2, 1)
    codes = torch.tensor([1, 0], dtype=BYTES)
    _, y = call("constexpr_lut_to_sparse", indices_mask=mask, indices_nonzero_data=codes, lut=lut)
    assert y.tolist() == [3, 2]


def test_quantize_and_back() -> None:
    x = torch.tensor([-300.0, -0.5, 0.5, 1.5, 300.0])
    q = call("quantize", input=x, scale=1.0, output_dtype="int8")
    assert q.tolist() == [-128, 0, 0, 2, 127]  # halves to even
    u = call("quantize", input=x, scale=2.0, output_dtype="uint8", zero_point=128)
    assert u.tolist() == [0, 128, 128, 129, 255]
    assert call("dequantize", input=u, scale=2.0, zero_point=128).tolist() == [-256, 0, 0, 2, 254]
    channels = torch.tensor([[1, 1], [2, 2]], dtype=torch.int8)
    y = call("dequantize", input=channels, scale=torch.tensor([1.0, 10.0]), axis=0)
    assert y.tolist() == [[1, 1], [20, 20]]

"""Compressed constants and quantized tensors in packages written by coremltools' builder."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from exporters.mil import Program

from .built import Build, build
from .calling import call

__all__ = ["build"]

BYTES = torch.uint8
RNG = np.random.default_rng(0)


def test_vectors_of_a_sparse_palette() -> None:
    """The example of iOS18.compression.constexpr_lut_to_sparse."""
    mask = torch.tensor(
        [[1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 1], [0, 1, 1, 0, 1, 0], [0, 0, 0, 1, 0, 0]],
        dtype=BYTES,
    )
    codes = torch.tensor([0, 1, 1, 0, 1, 1, 0, 0, 1], dtype=BYTES)
    lut = torch.tensor([2.0, 2.5, 3.0, 3.5]).reshape(1, 1, 2, 2)
    kept, values = call(
        "constexpr_lut_to_sparse", indices_mask=mask, indices_nonzero_data=codes, lut=lut,
        vector_axis=0,
    )  # fmt: skip
    assert torch.equal(kept, mask.repeat_interleave(2, 0))
    dense = call("constexpr_sparse_to_dense", nonzero_data=values, mask=kept)
    assert dense[:2, :2].tolist() == [[2, 3], [2.5, 3.5]]
    assert dense[6:, 3].tolist() == [3, 3.5]
    assert int((dense != 0).sum()) == 18


def sub_byte(codes: np.ndarray, bits: int) -> np.ndarray:
    """Codes in the type with which the builder marks sub-byte constants."""
    from coremltools.converters.mil.mil.types import type_mapping

    return codes.astype(type_mapping.string_to_nptype(f"uint{bits}"))


def run(path: Any, x: np.ndarray) -> list[np.ndarray]:
    return [y.numpy() for y in Program(path).function("main").run([torch.from_numpy(x)])]


ONES = np.ones((1, 1), np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [1, 3, 4, 6])
def test_palettes_per_group(build: Build, bits: int) -> None:
    codes = RNG.integers(0, 1 << bits, (6, 8))
    lut = RNG.normal(size=(3, 2, 1 << bits, 1)).astype(np.float32)

    def make(mb: Any, x: Any) -> Any:
        return mb.mul(x=mb.constexpr_lut_to_dense(indices=sub_byte(codes, bits), lut=lut), y=x)

    (got,) = run(build(make, {"x": ((1, 1), "fp32")}), ONES)
    wanted = [[lut[r // 2, c // 4, codes[r, c], 0] for c in range(8)] for r in range(6)]
    assert np.array_equal(got, np.array(wanted))


@pytest.mark.slow
def test_blocks_of_int4_with_offsets(build: Build) -> None:
    from coremltools.converters.mil.mil.types import type_mapping

    int4 = type_mapping.string_to_nptype("int4")
    data, offset = RNG.integers(-8, 8, (4, 12)), RNG.integers(-8, 8, (2, 3))
    scale = RNG.random((2, 3)).astype(np.float32)

    def make(mb: Any, x: Any) -> Any:
        weight = mb.constexpr_blockwise_shift_scale(
            data=data.astype(int4), scale=scale, offset=offset.astype(int4)
        )
        return mb.mul(x=weight, y=x)

    (got,) = run(build(make, {"x": ((1, 1), "fp32")}), ONES)
    big = [np.repeat(np.repeat(v, 2, 0), 4, 1) for v in (scale, offset)]
    assert np.array_equal(got, big[0] * (data - big[1]).astype(np.float32))


@pytest.mark.slow
def test_packed_forms_of_ios16(build: Build) -> None:
    codes = RNG.integers(0, 64, 15)
    lut = RNG.normal(size=64).astype(np.float32)
    packed = sum(int(c) << (6 * i) for i, c in enumerate(codes)).to_bytes(12, "little")
    mask = RNG.integers(0, 2, 15)
    nonzero = np.arange(1, mask.sum() + 1, dtype=np.float32)
    affine = RNG.integers(0, 256, (3, 5)).astype(np.uint8)
    scale, zero = RNG.random(5).astype(np.float32), RNG.integers(0, 256, 5).astype(np.uint8)
    shape = np.array([3, 5], np.uint32)

    def make(mb: Any, x: Any) -> Any:
        indices = np.frombuffer(packed, np.uint8).copy()
        weights = [
            mb.constexpr_lut_to_dense(indices=indices, lut=lut, shape=shape),
            mb.constexpr_sparse_to_dense(
                nonzero_data=nonzero, mask=np.packbits(mask, bitorder="little"), shape=shape
            ),
            mb.constexpr_affine_dequantize(
                quantized_data=affine, zero_point=zero, scale=scale, axis=np.int32(1)
            ),
        ]
        return tuple(mb.mul(x=weight, y=x) for weight in weights)

    got = run(build(make, {"x": ((1, 1), "fp32")}, target="iOS16"), ONES)
    sparse = np.zeros(15, np.float32)
    sparse[mask == 1] = nonzero
    exact = (affine.astype(np.float32) - zero.astype(np.float32)) * scale
    for one, wanted in zip(got, [lut[codes], sparse, exact], strict=True):
        assert np.array_equal(one, wanted.reshape(3, 5))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_quantizing_rounds_halves_to_even_and_saturates(build: Build, dtype: str) -> None:
    limits = np.iinfo(dtype)
    zero = np.array([3, 0, 7], dtype)
    scale = np.array([0.5, 1.0, 2.0], np.float32)
    x = np.array([[0.25, 0.5, -3], [0.75, 1.5, 9], [1e6, -1e6, 1e6]], np.float32)

    def make(mb: Any, x: Any) -> Any:
        along = {"scale": scale, "zero_point": zero, "axis": np.int32(-1)}
        q = mb.quantize(input=x, output_dtype=dtype, **along)
        return mb.dequantize(input=q, **along)

    (got,) = run(build(make, {"x": ((3, 3), "fp32")}, target="iOS17"), x)
    codes = np.clip(np.around(x / scale) + zero, limits.min, limits.max)
    assert np.array_equal(got, ((codes - zero) * scale).astype(np.float32))

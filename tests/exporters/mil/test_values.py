"""Constants: bit packing, sub-byte signs, declared sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.mil.values import MIL_TYPES, TensorType, from_bytes, unpack_bits
from headtail.errors import IntegrityFault

TYPES = {t.name: t for t in MIL_TYPES.values()}


def packed(codes: list[int], bits: int) -> torch.Tensor:
    """Least significant bit first, with Python integers."""
    number = sum(code << (bits * i) for i, code in enumerate(codes))
    size = -(-len(codes) * bits // 8)
    return torch.from_numpy(np.frombuffer(bytearray(number.to_bytes(size, "little")), np.uint8))


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([1, 2, 3, 4, 6, 8]))
def test_unpacking_inverts_packing(data: st.DataObject, bits: int) -> None:
    codes = data.draw(st.lists(st.integers(0, (1 << bits) - 1), min_size=1, max_size=40))
    assert unpack_bits(packed(codes, bits), bits, len(codes)).tolist() == codes


def test_int4_is_signed() -> None:
    values = from_bytes(packed(list(range(16)), 4).numpy(), TYPES["int4"], (16,))
    assert values.tolist() == [*range(8), *range(-8, 0)]


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("fp16", np.array([1.5, -2.0], np.float16)),
        ("fp32", np.array([1.5, -2.0], np.float32)),
        ("int8", np.array([-128, 127], np.int8)),
        ("uint8", np.array([0, 255], np.uint8)),
        ("int16", np.array([-32768, 7], np.int16)),
        ("uint16", np.array([65535, 7], np.uint16)),
        ("uint32", np.array([2**32 - 1, 7], np.uint32)),
        ("int32", np.array([-5, 7], np.int32)),
    ],
)
def test_whole_byte_types(name: str, array: np.ndarray) -> None:
    tensor = from_bytes(array.view(np.uint8), TYPES[name], (2,))
    assert tensor.dtype == TYPES[name].carried
    assert tensor.tolist() == array.tolist()


@pytest.mark.parametrize("size", [0, 7, 9])
def test_a_wrong_number_of_bytes_is_refused(size: int) -> None:
    with pytest.raises(IntegrityFault, match=rf"fp32\[2\] has {size} bytes\. It takes 8 bytes\."):
        from_bytes(np.zeros(size, np.uint8), TYPES["fp32"], (2,))


def test_a_type_accepts_what_it_leaves_open() -> None:
    declared = TensorType(TYPES["fp32"], (2, None))
    assert declared.accepts((2, 9))
    assert not declared.accepts((3, 9))
    assert not declared.accepts((2,))
    assert TensorType(TYPES["fp32"], None).accepts((1, 2, 3))
    assert str(declared) == "fp32[2,?]"

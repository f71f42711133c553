"""Tensors inside the JSON: exact, or refused."""

import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headtail.errors import TensorMismatch, WireFault
from headtail.tensors import DTYPES, TensorSpec
from headtail.wire.jsondata import array_from_json

json_arrays = st.sampled_from([n for n, _ in DTYPES.values() if n != "float16"]).flatmap(
    lambda d: hnp.arrays(
        d,
        hnp.array_shapes(max_dims=3, max_side=4),
        elements={"allow_nan": False, "allow_infinity": False} if d.startswith("float") else None,
    )
)


@given(array=json_arrays, flat=st.booleans())
@settings(deadline=None, max_examples=200)
def test_round_trip_is_exact(array, flat):
    data = json.loads(json.dumps((array.reshape(-1) if flat else array).tolist()))
    made = array_from_json(data, TensorSpec.of("t", array))
    assert made.dtype == array.dtype
    assert made.shape == array.shape
    assert made.tobytes() == array.tobytes()


def test_nested_data_is_row_major():
    made = array_from_json([[1, 2], [3, 4.5]], TensorSpec("t", "f32", (2, 2)))
    assert made.tolist() == [[1, 2], [3, 4.5]]


def test_uint64_on_both_sides_of_2_to_the_63():
    made = array_from_json([2**63, 0, 2**64 - 1], TensorSpec("t", "u64", (3,)))
    assert made.tolist() == [2**63, 0, 2**64 - 1]


@pytest.mark.parametrize(
    ("dtype", "data"),
    [
        ("f32", [1]),
        ("f32", [1, 2, 3]),
        ("f32", [[1], [2, 3]]),
        ("f32", ["1", "2"]),
        ("f32", [None, 1]),
        ("f32", [{}, 1]),
        ("f32", [True, False]),
        ("f32", [True, 1]),
        ("f32", [1e300, 0]),
        ("f32", [float("inf"), 0]),  # JSON's 1e999
        ("f32", []),
        ("u8", [1, 256]),
        ("u8", [1, -1]),
        ("u8", [1, 1.5]),
        ("i64", [1, 2**63]),
        ("u64", [1, 2**64]),
        ("u64", [2**63, -1]),
        ("u64", [2**63, 0.5]),
        ("i64", [1, 10**400]),
        ("bool", [0, 1]),
    ],
)
def test_attack_data_that_does_not_fit(dtype, data):
    with pytest.raises(TensorMismatch, match=r"'t' does not fit: .*takes 2 values"):
        array_from_json(data, TensorSpec("t", dtype, (2,)))


@pytest.mark.parametrize("data", [[[1, 2, 3], [4, 5, 6]], [[1, 2], [3, 4], [5, 6, 7]], [[1] * 6]])
def test_attack_lists_that_nest_otherwise_than_the_shape(data):
    with pytest.raises(TensorMismatch, match="nest as the shape does"):
        array_from_json(data, TensorSpec("t", "f32", (3, 2)))


def test_attack_one_long_string_among_numbers_is_not_multiplied():
    data = ["x" * 100_000, *[1] * 999]  # as a numpy array of strings: 400 MB
    tracemalloc.start()
    try:
        with pytest.raises(TensorMismatch, match="it holds int, str"):
            array_from_json(data, TensorSpec("t", "f32", (1000,)))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_fp16_travels_as_binary_only():
    with pytest.raises(WireFault, match="FP16 travels as binary only"):
        array_from_json([1, 2], TensorSpec("t", "f16", (2,)))

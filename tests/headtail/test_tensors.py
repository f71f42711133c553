"""Names, dtypes and shapes of tensors, and arrays that do not fit them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.errors import TensorMismatch, UnknownName
from headtail.strictjson import from_json, to_json
from headtail.tensors import (
    DTYPES,
    MAX_RANK,
    TensorSpec,
    check_array,
    check_arrays,
    dtype_of_oip,
    oip_datatype,
    short_dtype,
)

# Table "Tensor Data Types" of the Open Inference Protocol: datatype -> size in bytes
# https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
OIP_SIZES = {
    "BOOL": 1, "UINT8": 1, "UINT16": 2, "UINT32": 4, "UINT64": 8, "INT8": 1, "INT16": 2,
    "INT32": 4, "INT64": 8, "FP16": 2, "FP32": 4, "FP64": 8,
}  # fmt: skip
shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)
specs = st.builds(TensorSpec, st.text(), st.sampled_from(sorted(DTYPES)), shapes)


def test_every_fixed_size_datatype_of_the_protocol_is_here_with_its_size():
    sizes = {oip_datatype(spec): spec.nbytes for spec in (TensorSpec("t", d, ()) for d in DTYPES)}
    assert sizes == OIP_SIZES


@pytest.mark.parametrize("short", DTYPES)
def test_the_three_names_of_a_dtype_lead_to_one_another(short):
    spec = TensorSpec("t", short, (2,))
    assert short_dtype(spec.numpy_dtype) == short
    assert dtype_of_oip(oip_datatype(spec)) == short


@settings(deadline=None, max_examples=80)
@given(specs)
def test_a_spec_describes_the_array_it_came_from(spec):
    array = np.zeros(spec.shape, spec.numpy_dtype)
    assert TensorSpec.of(spec.name, array) == spec
    assert (spec.elements, spec.nbytes) == (array.size, array.nbytes)
    assert from_json(TensorSpec, to_json(spec)) == spec
    check_array(array, spec)


def test_the_text_form():
    assert str(TensorSpec("image", "f32", (1, 3, 224, 224))) == "image:f32[1,3,224,224]"
    assert str(TensorSpec("scalar", "bool", ())) == "scalar:bool[]"


def test_a_huge_shape_is_counted_not_allocated():
    assert TensorSpec("t", "f64", (1 << 40, 1 << 40)).nbytes == 1 << 83


@pytest.mark.parametrize("shape", [(1, -1), (1,) * (MAX_RANK + 1)])
def test_shapes_that_cannot_be(shape):
    with pytest.raises(TensorMismatch, match=r"'t' has shape .*at most 16 sizes, none negative"):
        TensorSpec("t", "f32", shape)
    TensorSpec("t", "f32", (1,) * MAX_RANK)


@pytest.mark.parametrize(
    ("look", "words"),
    [
        (lambda: TensorSpec("t", "f23", ()), "Unknown dtype 'f23'.*Did you mean 'f32'"),
        (lambda: short_dtype(np.dtype(np.complex64)), "Unknown dtype 'complex64'.*float32"),
        (lambda: short_dtype(np.dtype("S3")), "Unknown dtype"),
        (lambda: dtype_of_oip("BYTES"), "Unknown datatype 'BYTES'.*FP32"),
        (lambda: dtype_of_oip("fp32"), "Unknown datatype 'fp32'"),
    ],
)
def test_unknown_dtypes(look, words):
    with pytest.raises(UnknownName, match=words):
        look()


SPEC = TensorSpec("x", "f32", (1, 3))


@pytest.mark.parametrize(
    ("array", "is_said"),
    [
        (np.zeros((1, 3), np.float64), r"float64\[1, 3\]"),
        (np.zeros((3,), np.float32), r"float32\[3\]"),
        (np.zeros((1, 4), np.float32), r"float32\[1, 4\]"),
        (np.zeros((), np.float32), r"float32\[\]"),
    ],
)
def test_an_array_that_does_not_fit(array, is_said):
    with pytest.raises(TensorMismatch, match=rf"'x' is {is_said}\. It must be float32\[1, 3\]"):
        check_array(array, SPEC)


def test_lists_of_arrays():
    good = np.zeros((1, 3), np.float32)
    check_arrays([good, good], [SPEC, SPEC])
    check_arrays([], [])
    with pytest.raises(TensorMismatch, match=r"1 tensors were given.*2: x:f32\[1,3\], x:f32"):
        check_arrays([good], [SPEC, SPEC])
    with pytest.raises(TensorMismatch, match="'x' is int8"):
        check_arrays([good, good.astype(np.int8)], [SPEC, SPEC])

import numpy as np
import pytest

from headtail.errors import WireFault
from headtail.tensors import DTYPES, TensorSpec
from headtail.wire.rawdata import array_from_raw, datatype_of, raw_bytes


@pytest.mark.parametrize("short", DTYPES)
def test_every_dtype_travels_and_comes_back(short):
    spec = TensorSpec("x", short, (2, 3))
    array = np.array([[0, 1, 1], [1, 0, 1]], spec.numpy_dtype)
    data = raw_bytes(array)
    assert len(data) == spec.nbytes
    back = array_from_raw(memoryview(b"?" + data)[1:], spec)  # nothing promises alignment
    assert back.dtype == array.dtype
    assert back.tolist() == array.tolist()


def test_the_bytes_are_little_endian_and_row_major():
    assert raw_bytes(np.array([[1, 2], [3, 4]], ">u2").T) == b"\1\0\3\0\2\0\4\0"


def test_text_is_a_length_and_utf8_for_each_element():
    texts = np.array([["0.5:1:Kuh"], ["ü"]], dtype=object)
    assert datatype_of(texts) == "BYTES"
    assert raw_bytes(texts) == b"\x09\0\0\x000.5:1:Kuh\x02\0\0\0\xc3\xbc"


def test_a_bool_is_0_or_1():
    with pytest.raises(WireFault, match="neither 0 nor 1"):
        array_from_raw(memoryview(b"\0\2"), TensorSpec("x", "bool", (2,)))

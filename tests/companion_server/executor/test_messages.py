import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from companion_server.executor.messages import PREFIX, lengths, pack, unpack
from headtail.errors import WireFault

DTYPES = st.sampled_from(["f4", "u1", "i8", "f2", "?"])
ARRAYS = st.lists(
    arrays_of.arrays(DTYPES, arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0)), max_size=4
)


def sent(head, arrays):
    data = bytearray(b"".join(pack(head, arrays)))
    json_bytes, tensor_bytes = lengths(data[: PREFIX.size])
    middle = PREFIX.size + json_bytes
    assert len(data) == middle + tensor_bytes
    return data[PREFIX.size : middle], data[middle:]


@given(ARRAYS)
def test_what_is_packed_is_unpacked(arrays):
    head, found = unpack(*sent({"id": 7, "op": "run"}, arrays))
    assert head == {"id": 7, "op": "run"}
    assert len(found) == len(arrays)
    for array, back in zip(arrays, found, strict=True):
        assert back.dtype == array.dtype
        assert back.shape == array.shape
        assert back.tobytes() == array.tobytes()  # NaN too


def test_strided_arrays_are_sent_dense_and_come_back_writable():
    array = np.arange(24, dtype=np.float32).reshape(4, 6)[::2, ::3]
    _, [back] = unpack(*sent({}, [array]))
    np.testing.assert_array_equal(back, array)
    back[0, 0] = 5.0


@pytest.mark.parametrize("change", [-1, 1])
def test_other_lengths_are_noticed(change):
    text, tensors = sent({}, [np.zeros(3, np.float32)])
    longer = bytes(tensors) + b"x" if change > 0 else bytes(tensors[:-1])
    with pytest.raises(WireFault):
        unpack(text, longer)


def test_a_length_that_cannot_be_is_refused_before_it_is_allocated():
    with pytest.raises(WireFault, match="says 4294967295 bytes of JSON"):
        lengths(PREFIX.pack(0xFFFFFFFF, 0))

import pytest
from hypothesis import given
from hypothesis import strategies as st

from companion_server.ranges import Unsatisfiable, byte_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=2-4", (2, 5)),
        ("bytes=7-", (7, 10)),
        ("bytes=0-99", (0, 10)),  # RFC 9110 §14.1.2: a last position past the end means the end
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        ("BYTES=1-1", (1, 2)),
        ("", None),
        ("bytes=-", None),
        ("bytes=5-2", None),
        ("bytes=0-1,4-5", None),
        ("pages=0-1", None),
        ("bytes=a-b", None),
        ("bytes=٣-٤", None),
    ],
)
def test_of_ten_bytes(header, expected):
    assert byte_range(header, 10) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=11-12", "bytes=-0"])
def test_a_range_that_begins_past_the_end_cannot_be_satisfied(header):
    with pytest.raises(Unsatisfiable):
        byte_range(header, 10)


@given(st.text(max_size=40) | st.from_regex(r"bytes=\d{0,20}-\d{0,20}"), st.integers(0, 1000))
def test_whatever_the_header_the_range_lies_inside(header, size):
    try:
        found = byte_range(header, size)
    except Unsatisfiable:
        return
    if found is not None:
        start, stop = found
        assert 0 <= start < stop <= size

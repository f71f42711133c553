import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.errors import TooLarge, WireFault
from headtail.wire.oip import InferRequest, NamedArray, decode_request, encode_request
from headtail.wire.stream import Cancel, Fault, decode_text, encode_text, pack, unpack

LIMIT = 1 << 16


def test_the_bytes_of_a_message():
    assert pack({"Inference-Header-Content-Length": "2"}, b"{}\x07\x08") == b"\2\0\0\0{}\7\10"
    assert pack({}, b"{}") == b"\2\0\0\0{}"


def test_a_request_comes_out_as_it_went_in():
    request = InferRequest((NamedArray("x", np.arange(4, dtype=np.float32)),), id="7")
    found = decode_request(*unpack(pack(*encode_request(request)), max_body_bytes=LIMIT))
    assert (found.id, found.inputs[0].name) == ("7", "x")
    assert found.inputs[0].array.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("message", [b"", b"\0\0\0", b"\1\0\0\0", b"\xff\xff\xff\xff{}"])
def test_a_length_that_cannot_be_is_refused(message):
    with pytest.raises(WireFault, match="promises"):
        unpack(message, max_body_bytes=LIMIT)


def test_a_message_over_the_limit_is_refused():
    assert unpack(b"\0\0\0\0" + bytes(10), max_body_bytes=10)[1] == bytes(10)
    with pytest.raises(TooLarge, match="11 bytes"):
        unpack(b"\0\0\0\0" + bytes(11), max_body_bytes=10)


@given(message=st.binary(max_size=64))
@settings(deadline=None)
def test_noise_is_unpacked_in_bounds_or_refused(message):
    try:
        headers, body = unpack(message, max_body_bytes=32)
    except WireFault:
        return
    assert int(headers["Inference-Header-Content-Length"]) <= len(body) <= 32


def test_the_text_messages():
    assert encode_text(Cancel("7")) == '{"cancel":"7"}'
    assert encode_text(Fault("7", 504, "Late.")) == '{"id":"7","status":504,"error":"Late."}'


@given(
    fault=st.builds(
        Fault,
        id=st.text(),
        status=st.integers(400, 599),
        error=st.text(),
        held=st.none() | st.dictionaries(st.text(), st.lists(st.text()).map(tuple), max_size=3),
        retry_after_ms=st.none() | st.integers(0, 100),
    )
)
@settings(deadline=None)
def test_a_fault_comes_back_equal(fault):
    assert decode_text(encode_text(fault), Fault) == fault


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"cancel": 7}',
        '{"cancel": "a", "cancel": "b"}',
        '{"cancel": "a", "force": true}',
        "\ud800",
        "[" * 50_000,
        '{"cancel": "' + "x" * (1 << 20) + '"}',
    ],
)
def test_other_texts_are_refused(text):
    with pytest.raises(WireFault, match="malformed"):
        decode_text(text, Cancel)

"""Open Inference Protocol messages: literal bytes, round trips, and messages that lie."""

import json
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headtail.errors import TensorMismatch, TooLarge, WireFault
from headtail.tensors import DTYPES
from headtail.wire.oip import (
    HEADER_LENGTH,
    InferRequest,
    InferResponse,
    Limits,
    NamedArray,
    RequestedOutput,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)

REQUEST = InferRequest(
    (
        NamedArray("x", np.array([[1.5, -2.0]], np.float32)),
        NamedArray("m", np.array([1, 255], np.uint8)),
    ),
    id="7",
    outputs=(RequestedOutput("y", binary=True), RequestedOutput("z", binary=False)),
    parameters={"split.cut": "c1"},
)
REQUEST_JSON = (
    b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}},'
    b'{"name":"m","shape":[2],"datatype":"UINT8","parameters":{"binary_data_size":2}}],'
    b'"id":"7","parameters":{"split.cut":"c1"},'
    b'"outputs":[{"name":"y","parameters":{"binary_data":true}},'
    b'{"name":"z","parameters":{"binary_data":false}}]}'
)
REQUEST_BYTES = REQUEST_JSON + bytes.fromhex("0000c03f 000000c0 01ff")
RESPONSE = InferResponse(
    "toy",
    "abc",
    (
        NamedArray("y", np.array([0.5], np.float32)),
        NamedArray("z", np.array([[3, -4]], np.int32)),
    ),
    id="7",
    parameters={"split.compute_ms": 1.25},
)
RESPONSE_JSON = (
    b'{"model_name":"toy","model_version":"abc","outputs":['
    b'{"name":"y","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}},'
    b'{"name":"z","shape":[1,2],"datatype":"INT32","data":[3,-4]}],'
    b'"id":"7","parameters":{"split.compute_ms":1.25}}'
)
RESPONSE_BYTES = RESPONSE_JSON + bytes.fromhex("0000003f")

dtypes = st.sampled_from([name for name, _ in DTYPES.values()])
arrays = dtypes.flatmap(
    lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
tensors = st.dictionaries(names, arrays, min_size=1, max_size=4).map(
    lambda d: tuple(NamedArray(name, array) for name, array in d.items())
)
scalars = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
)
parameters = st.dictionaries(names.filter(lambda n: n != "binary_data_output"), scalars, max_size=3)


def same(left, right):
    assert [t.name for t in left] == [t.name for t in right]
    for one, other in zip(left, right, strict=True):
        assert one.array.dtype == other.array.dtype
        assert one.array.shape == other.array.shape
        assert one.array.tobytes() == other.array.tobytes()


def message(head, binary=b"", *, length=None):
    """Headers and body around a JSON value, whatever it is."""
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return {HEADER_LENGTH: str(len(text) if length is None else length)}, text + binary


def tensor(**changes):
    made = {
        "name": "x",
        "shape": [2],
        "datatype": "FP32",
        "parameters": {"binary_data_size": 8},
        **changes,
    }
    return {key: value for key, value in made.items() if value is not ...}


def json_tensor(**changes):
    return tensor(parameters=..., **changes)


def test_exact_request_bytes():
    headers, body = encode_request(REQUEST)
    assert body == REQUEST_BYTES
    assert headers == {
        "Content-Type": "application/octet-stream",
        HEADER_LENGTH: str(len(REQUEST_JSON)),
    }
    decoded = decode_request(headers, body)
    same(decoded.inputs, REQUEST.inputs)
    assert (decoded.id, decoded.outputs) == (REQUEST.id, REQUEST.outputs)
    assert decoded.parameters == REQUEST.parameters


def test_exact_response_bytes():
    headers, body = encode_response(RESPONSE, binary=lambda name: name == "y")
    assert body == RESPONSE_BYTES
    assert headers[HEADER_LENGTH] == str(len(RESPONSE_JSON))
    decoded = decode_response(headers, body)
    same(decoded.outputs, RESPONSE.outputs)
    assert (decoded.model_name, decoded.model_version) == ("toy", "abc")
    assert (decoded.id, decoded.parameters) == ("7", {"split.compute_ms": 1.25})


def test_a_response_of_json_alone_has_no_binary_header():
    headers, body = encode_response(RESPONSE, binary=False)
    assert headers == {"Content-Type": "application/json"}
    same(decode_response(headers, body).outputs, RESPONSE.outputs)


@given(inputs=tensors, parameters=parameters, all_binary=st.booleans())
@settings(deadline=None, max_examples=100)
def test_request_round_trip(inputs, parameters, all_binary):
    request = InferRequest(inputs, parameters=parameters, binary_outputs=all_binary)
    decoded = decode_request(*encode_request(request))
    same(decoded.inputs, inputs)
    assert decoded.parameters == parameters
    assert decoded.binary_outputs == all_binary


@given(outputs=tensors, parameters=parameters)
@settings(deadline=None, max_examples=100)
def test_response_round_trip(outputs, parameters):
    response = InferResponse("m", "v", outputs, parameters=parameters)
    decoded = decode_response(*encode_response(response))
    same(decoded.outputs, outputs)
    assert decoded.parameters == parameters


def test_header_names_are_case_insensitive():
    headers, body = encode_request(REQUEST)
    same(decode_request({k.lower(): v for k, v in headers.items()}, body).inputs, REQUEST.inputs)


def test_an_output_without_a_word_follows_the_request():
    for everything in (True, False):
        head = {
            "inputs": [tensor()],
            "outputs": [{"name": "y"}, {"name": "z", "parameters": {"binary_data": False}}],
            "parameters": {"binary_data_output": everything},
        }
        decoded = decode_request(*message(head, bytes(8)))
        assert [output.binary for output in decoded.outputs] == [everything, False]
        assert decoded.parameters == {}


def test_what_json_cannot_carry():
    for array, words in (
        (np.zeros(1, np.float16), "FP16"),
        (np.array([np.nan], np.float32), "not finite"),
    ):
        response = InferResponse("m", "v", (NamedArray("y", array),))
        with pytest.raises(WireFault, match=words):
            encode_response(response, binary=False)
        same(decode_response(*encode_response(response)).outputs, response.outputs)


@pytest.mark.parametrize("sent", [REQUEST_BYTES, RESPONSE_BYTES], ids=["request", "response"])
def test_every_truncation_is_refused(sent):
    head = REQUEST_JSON if sent is REQUEST_BYTES else RESPONSE_JSON
    decode = decode_request if sent is REQUEST_BYTES else decode_response
    for length in range(len(sent)):
        with pytest.raises(WireFault):
            decode({HEADER_LENGTH: str(len(head))}, sent[:length])
        with pytest.raises(WireFault):  # with the header adjusted to what is left
            decode({HEADER_LENGTH: str(min(length, len(head)))}, sent[:length])
        with pytest.raises(WireFault):
            decode({}, sent[:length])


@pytest.mark.parametrize("sent", [REQUEST_BYTES, RESPONSE_BYTES], ids=["request", "response"])
def test_every_changed_byte_of_the_json_is_refused_or_says_something_else(sent):
    head = REQUEST_JSON if sent is REQUEST_BYTES else RESPONSE_JSON
    decode = decode_request if sent is REQUEST_BYTES else decode_response
    refused = 0
    for place in range(len(head)):
        for change in (0x01, 0x02, 0x20, 0x80, 0xFF):
            damaged = bytearray(sent)
            damaged[place] ^= change
            try:
                decoded: Any = decode({HEADER_LENGTH: str(len(head))}, bytes(damaged))
            except WireFault:
                refused += 1
                continue
            # another letter in a name or a digit in a value, never other tensor bytes
            made = decoded.inputs if decode is decode_request else decoded.outputs
            assert [t.array.nbytes for t in made] == ([8, 2] if sent is REQUEST_BYTES else [4, 8])
    assert refused > len(head)


DEEP = b'{"inputs":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
HUGE = 10**4000
MALFORMED = {
    "not JSON": (b"{", b"", "Not JSON"),
    "not UTF-8": (b'{"id":"\xff"}', b"", "Not JSON"),
    "a list": ([], b"", "is a list"),
    "deep": (DEEP, b"", "levels deep"),
    "duplicate key": (b'{"id":"1","id":"2"}', b"", "'id' appears twice"),
    "NaN": (b'{"parameters":{"a":NaN}}', b"", "NaN is not"),
    "unknown key": ({"inputs": [tensor()], "model": "x"}, bytes(8), "unknown key 'model'"),
    "no inputs": ({"inputs": []}, b"", "must be a list of tensors"),
    "missing inputs": ({}, b"", "must be a list of tensors"),
    "tensor is no object": ({"inputs": ["x"]}, b"", "a tensor is an object"),
    "unknown tensor key": ({"inputs": [tensor(offset=0)]}, bytes(8), "unknown key 'offset'"),
    "name missing": ({"inputs": [tensor(name=...)]}, bytes(8), "short string"),
    "name a number": ({"inputs": [tensor(name=1)]}, bytes(8), "short string"),
    "name too long": ({"inputs": [tensor(name="x" * 1025)]}, bytes(8), "short string"),
    "half a character": ({"inputs": [tensor(name="\ud800")]}, bytes(8), "surrogates not allowed"),
    "same name": ({"inputs": [tensor(), tensor()]}, bytes(16), "stands twice"),
    "shape missing": ({"inputs": [tensor(shape=...)]}, bytes(8), "shape is None"),
    "shape negative": ({"inputs": [tensor(shape=[-2])]}, bytes(8), r"shape is \[-2\]"),
    "shape a float": ({"inputs": [tensor(shape=[2.0])]}, bytes(8), r"shape is \[2.0\]"),
    "shape a boolean": ({"inputs": [tensor(shape=[True])]}, bytes(8), r"shape is \[True\]"),
    "shape too long": ({"inputs": [tensor(shape=[1] * 17)]}, bytes(4), "up to 16 sizes"),
    "unknown datatype": ({"inputs": [tensor(datatype="BF16")]}, bytes(8), "Unknown datatype"),
    "BYTES": ({"inputs": [tensor(datatype="BYTES")]}, bytes(8), "Unknown datatype 'BYTES'"),
    "datatype a list": ({"inputs": [tensor(datatype=[])]}, bytes(8), "short string"),
    "no data": ({"inputs": [json_tensor()]}, b"", "needs data"),
    "both": ({"inputs": [tensor(data=[1, 2])]}, bytes(8), "both data and"),
    "FP16 in JSON": ({"inputs": [json_tensor(datatype="FP16", data=[1, 2])]}, b"", "binary only"),
    "body too short": ({"inputs": [tensor()]}, bytes(7), "ends inside tensor 'x'"),
    "body too long": ({"inputs": [tensor()]}, bytes(9), "1 bytes belong to no tensor"),
    "BOOL of 2": (
        {"inputs": [tensor(datatype="BOOL", parameters={"binary_data_size": 2})]},
        b"\1\2",
        "neither 0 nor 1",
    ),
    "parameters a list": ({"inputs": [tensor(parameters=[])]}, b"", "not an object"),
    "parameter a list": ({"inputs": [tensor()], "parameters": {"a": []}}, bytes(8), "'a' is not"),
    "parameter infinite": (
        b'{"inputs":[{"name":"x","shape":[0],"datatype":"FP32","data":[]}],"parameters":{"a":1e999}}',
        b"",
        "'a' is not",
    ),
    "outputs an object": ({"inputs": [tensor()], "outputs": {}}, bytes(8), "outputs is not a list"),
    "output a string": ({"inputs": [tensor()], "outputs": ["y"]}, bytes(8), "is an object"),
    "output key": (
        {"inputs": [tensor()], "outputs": [{"nam": "y"}]},
        bytes(8),
        "unknown key 'nam'",
    ),
    "classification": (
        {"inputs": [tensor()], "outputs": [{"name": "y", "parameters": {"classification": -1}}]},
        bytes(8),
        "classification is -1",
    ),
    "shared memory": (
        {"inputs": [json_tensor(data=[1, 2]) | {"parameters": {"shared_memory_region": "r"}}]},
        b"",
        "unknown key 'shared_memory_region', known are binary_data_size",
    ),
    "output parameter": (
        {"inputs": [tensor()], "outputs": [{"name": "y", "parameters": {"top": 1}}]},
        bytes(8),
        "unknown key 'top', known are binary_data, classification",
    ),
    "binary_data a string": (
        {"inputs": [tensor()], "outputs": [{"name": "y", "parameters": {"binary_data": "false"}}]},
        bytes(8),
        "'false' is not true or false",
    ),
    "binary_data_output a number": (
        {"inputs": [tensor()], "parameters": {"binary_data_output": 0}},
        bytes(8),
        "'0' is not true or false",
    ),
    "id a number": ({"inputs": [tensor()], "id": 7}, bytes(8), "short string"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_attack_malformed(case):
    head, binary, words = MALFORMED[case]
    with pytest.raises(WireFault, match=words) as caught:
        decode_request(*message(head, binary))
    assert caught.value.http_status == 400
    assert len(str(caught.value)) < 1000
    str(caught.value).encode()


@pytest.mark.parametrize("size", [7, 9, 0, -8, "8", 8.0, True, HUGE])
def test_attack_binary_data_size(size):
    head = {"inputs": [tensor(parameters={"binary_data_size": size})]}
    with pytest.raises(TensorMismatch, match=r"takes 8"):
        decode_request(*message(head, bytes(8)))


@pytest.mark.parametrize("length", ["", "-1", "1e3", "0x10", "9" * 12, "10000", "²", " "])
def test_attack_header_length(length):
    with pytest.raises(WireFault):
        decode_request({HEADER_LENGTH: length}, REQUEST_BYTES)


@pytest.mark.parametrize(
    "shape", [[2**26 + 1], [2**13, 2**14], [HUGE], [HUGE, HUGE], [0, HUGE], [0] + [2**26] * 15]
)
def test_attack_huge_shapes(shape):
    started = time.thread_time()
    with pytest.raises(TooLarge, match=r"At most 67108864") as caught:
        decode_request(*message({"inputs": [tensor(shape=shape)]}, bytes(8)))
    assert len(str(caught.value)) < 1000
    assert time.thread_time() - started < 1


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(max_body_bytes=len(REQUEST_BYTES) - 1), "The body has"),
        (Limits(max_json_bytes=len(REQUEST_JSON) - 1), "The JSON has"),
        (Limits(max_tensors=1), "has 2 tensors"),
        (Limits(max_elements=1), r"shape \[1, 2\]"),
    ],
)
def test_limits(limits, words):
    headers = {HEADER_LENGTH: str(len(REQUEST_JSON))}
    with pytest.raises(TooLarge, match=words):
        decode_request(headers, REQUEST_BYTES, limits=limits)


def test_limit_of_outputs():
    head = {"inputs": [tensor()], "outputs": [{"name": "y"}, {"name": "z"}]}
    with pytest.raises(TooLarge, match=r"names 2 outputs\. At most 1\."):
        decode_request(*message(head, bytes(8)), limits=Limits(max_tensors=1))


@given(body=st.binary(max_size=60), length=st.none() | st.integers(0, 70))
@settings(deadline=None, max_examples=300)
def test_any_bytes(body, length):
    headers = {} if length is None else {HEADER_LENGTH: str(length)}
    for decode in (decode_request, decode_response):
        with pytest.raises(WireFault):
            decode(headers, body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "shape", "datatype", "data", "parameters"]), inner, max_size=5
        )
    ),
    max_leaves=20,
)


@given(
    value=json_values,
    key=st.sampled_from(["inputs", "outputs", "parameters", "id"]),
    place=json_values,
)
@settings(deadline=None, max_examples=300)
def test_any_json(value, key, place):
    head = {"inputs": [tensor(name="x", data=value, parameters=...)], key: place}
    text = json.dumps(head).encode("utf-8", "surrogatepass")
    for decode in (decode_request, decode_response):
        try:
            decode({}, text)
        except WireFault as error:
            str(error).encode()

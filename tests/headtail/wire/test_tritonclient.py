"""The unmodified body encoder and decoder of `tritonclient.http` against ours, both ways."""

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

from headtail.wire.oip import (
    HEADER_LENGTH,
    InferRequest,
    InferResponse,
    NamedArray,
    decode_request,
    encode_request,
    encode_response,
)

X = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
M = np.array([[True, False]])


def triton_input(name, array, datatype, *, binary):
    made = InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


@pytest.mark.parametrize("binary", [True, False])
def test_their_request_to_us(binary):
    body, length = InferenceServerClient.generate_request_body(
        [triton_input("x", X, "FP32", binary=binary), triton_input("m", M, "BOOL", binary=binary)],
        outputs=[
            InferRequestedOutput("y", binary_data=True),
            InferRequestedOutput("z", binary_data=False, class_count=3),
        ],
        request_id="q7",
        parameters={"split.cut": "c1", "split.deadline_ms": 250},
    )
    headers = {} if length is None else {HEADER_LENGTH: str(length)}
    assert (length is None) == (not binary)
    decoded = decode_request(headers, bytes(body))
    assert [t.name for t in decoded.inputs] == ["x", "m"]
    assert [t.array.dtype.name for t in decoded.inputs] == ["float32", "bool"]
    assert decoded.inputs[0].array.tolist() == X.tolist()
    assert decoded.inputs[1].array.tolist() == M.tolist()
    assert [(o.name, o.binary, o.classification) for o in decoded.outputs] == [
        ("y", True, 0),
        ("z", False, 3),
    ]
    assert decoded.id == "q7"
    assert decoded.parameters == {"split.cut": "c1", "split.deadline_ms": 250}


def test_their_request_for_every_output_in_binary():
    body, length = InferenceServerClient.generate_request_body(
        [triton_input("x", X, "FP32", binary=True)]
    )
    decoded = decode_request({HEADER_LENGTH: str(length)}, bytes(body))
    assert decoded.outputs == ()
    assert decoded.binary_outputs


def test_our_request_is_byte_for_byte_what_they_would_send():
    theirs, length = InferenceServerClient.generate_request_body(
        [triton_input("x", X, "FP32", binary=True)], request_id="q7", parameters={"a": 1}
    )
    headers, ours = encode_request(
        InferRequest((NamedArray("x", X),), id="q7", parameters={"a": 1}, binary_outputs=True)
    )
    same = decode_request({HEADER_LENGTH: str(length)}, bytes(theirs))
    again = decode_request(headers, ours)
    assert (same.id, same.parameters, same.binary_outputs) == (
        again.id,
        again.parameters,
        again.binary_outputs,
    )
    assert ours[int(headers[HEADER_LENGTH]) :] == bytes(theirs)[length:]


@pytest.mark.parametrize("binary", [True, False, lambda name: name == "y"])
def test_our_response_to_them(binary):
    response = InferResponse(
        "toy",
        "abc",
        (NamedArray("y", X), NamedArray("n", np.array([3, -4], np.int64)), NamedArray("m", M)),
        id="q7",
        parameters={"split.compute_ms": 1.25},
    )
    headers, body = encode_response(response, binary=binary)
    length = int(headers[HEADER_LENGTH]) if HEADER_LENGTH in headers else None
    result = InferenceServerClient.parse_response_body(body, header_length=length)
    assert result.as_numpy("y").tolist() == X.tolist()
    assert result.as_numpy("y").dtype == np.float32
    assert result.as_numpy("n").tolist() == [3, -4]
    assert result.as_numpy("m").tolist() == M.tolist()
    assert result.get_response()["model_version"] == "abc"
    assert result.get_response()["parameters"] == {"split.compute_ms": 1.25}

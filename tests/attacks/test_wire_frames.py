"""Damaged messages at every parser that bytes from a network reach.

Nothing but errors of our tree comes out, and memory stays within what was declared. The long run is
benchmarks/fuzz_wire.py.
"""

import gzip
import json
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from companion_server.bodies import decompress
from companion_server.grpc_messages import message
from companion_server.grpc_tensors import MAX_FIELDS, infer_request, parse_infer_request, request_id
from headtail.errors import HeadtailError, TensorMismatch, TooLarge, WireFault
from headtail.wire import oip
from headtail.wire.stream import Cancel, Fault, decode_text, pack, unpack

LIMIT = 1 << 20
LIMITS = oip.Limits(max_body_bytes=LIMIT, max_json_bytes=LIMIT)
X = np.arange(12, dtype=np.float32).reshape(1, 3, 4)


def peak_bytes(run, data):
    """What `run(data)` allocates at most; errors of our tree are its good right."""
    tracemalloc.start()
    try:
        run(data)
    except HeadtailError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


def read_request(data):
    return oip.decode_request(*unpack(data, max_body_bytes=LIMIT), limits=LIMITS)


def read_grpc(data):
    return infer_request(parse_infer_request(data, limits=LIMITS), limits=LIMITS)


def http_seed():
    request = oip.InferRequest((oip.NamedArray("x", X),), "7", (), {"split.cut": "c1"}, True)
    return pack(*oip.encode_request(request))


def grpc_seed():
    made = message("ModelInferRequest")(model_name="toy", id="7")
    made.inputs.add(name="x", datatype="FP32", shape=X.shape)
    made.raw_input_contents.append(X.tobytes())
    made.parameters["split.deadline_ms"].int64_param = 5
    return made.SerializeToString()


READERS = [(read_request, http_seed()), (read_grpc, grpc_seed())]


@pytest.mark.parametrize(("read", "seed"), READERS, ids=["http", "grpc"])
@given(data=st.data())
@settings(deadline=None, max_examples=150)
def test_damage_is_read_or_refused(read, seed, data):
    damaged = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged)))
        damaged[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    try:
        found = read(bytes(damaged))
    except HeadtailError:
        return
    assert all(tensor.array.nbytes <= LIMIT for tensor in found.inputs)


@given(noise=st.binary(max_size=200))
@settings(deadline=None, max_examples=150)
def test_noise_is_refused_everywhere(noise):
    for read in (read_request, read_grpc):
        with pytest.raises(HeadtailError):
            read(noise)
    for coding in ("gzip", "deflate"):
        with pytest.raises(HeadtailError):
            decompress(b"\0" + noise, coding, limit=LIMIT)
    with pytest.raises(HeadtailError):
        decode_text("?" + noise.decode("latin-1"), Cancel)
    with pytest.raises(HeadtailError):
        decode_text("?" + noise.decode("latin-1"), Fault)
    assert isinstance(request_id(noise), str)


@pytest.mark.parametrize("pack_bytes", [gzip.compress, zlib.compress])
def test_attack_a_bomb_is_stopped_at_the_limit(pack_bytes):
    bomb = pack_bytes(bytes(32 << 20))
    coding = "gzip" if pack_bytes is gzip.compress else "deflate"
    with pytest.raises(TooLarge):
        decompress(bomb, coding, limit=LIMIT)
    assert peak_bytes(lambda data: decompress(data, coding, limit=LIMIT), bomb) < 3 * LIMIT


def test_attack_a_shape_that_nothing_fills():
    head = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1 << 40], "data": [1]}]}
    data = pack({}, json.dumps(head).encode())
    with pytest.raises(TooLarge):
        read_request(data)
    assert peak_bytes(read_request, data) < 64 << 10


def test_attack_an_empty_tensor_of_two_bytes_a_million_times():
    """As protobuf objects they would take a hundred times as much."""
    bomb = b"\x2a\x00" * (LIMIT // 2)
    with pytest.raises(TooLarge, match=str(MAX_FIELDS + 1)):
        read_grpc(bomb)
    assert peak_bytes(read_grpc, bomb) < 256 << 10


def test_attack_typed_contents_longer_than_json_may_be():
    made = message("ModelInferRequest")(model_name="toy")
    made.inputs.add(name="x", datatype="UINT8", shape=[2 * LIMIT])
    made.inputs[0].contents.uint_contents.extend([1] * (2 * LIMIT))
    with pytest.raises(TooLarge):
        read_grpc(made.SerializeToString())


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("INT8", "int_contents", [1, 128]),
        ("UINT16", "uint_contents", [1, 65536]),
        ("INT32", "int_contents", [1]),  # one of two
        ("FP32", "fp64_contents", [1.0, 2.0]),
        ("FP16", "fp32_contents", [1.0, 2.0]),
        ("BYTES", "bytes_contents", [b"a", b"b"]),
        ("FP32", "", []),
    ],
)
def test_typed_contents_that_do_not_fit(datatype, field, values):
    made = message("ModelInferRequest")(model_name="toy")
    made.inputs.add(name="x", datatype=datatype, shape=[2])
    if field:
        getattr(made.inputs[0].contents, field).extend(values)
    with pytest.raises((WireFault, TensorMismatch)):
        read_grpc(made.SerializeToString())


def test_typed_contents_of_every_datatype():
    for datatype, field, values in (
        ("BOOL", "bool_contents", [True, False]),
        ("INT8", "int_contents", [-128, 127]),
        ("INT64", "int64_contents", [-(1 << 63), (1 << 63) - 1]),
        ("UINT64", "uint64_contents", [0, (1 << 64) - 1]),
        ("UINT8", "uint_contents", [0, 255]),
        ("FP64", "fp64_contents", [0.1, float("inf")]),
    ):
        made = message("ModelInferRequest")(model_name="toy")
        made.inputs.add(name="x", datatype=datatype, shape=[2])
        getattr(made.inputs[0].contents, field).extend(values)
        assert read_grpc(made.SerializeToString()).inputs[0].array.tolist() == values


@pytest.mark.parametrize(
    "attack",
    [
        {"raw_input_contents": [b"1234", b"1234"]},
        {"raw_input_contents": [b"123"]},
        {"raw_input_contents": [b""]},
        {"outputs": [{"name": "y"}] * 65},
        {"id": "x" * 2000},
    ],
)
def test_grpc_requests_that_contradict_themselves(attack):
    made = message("ModelInferRequest")(model_name="toy", raw_input_contents=[b"1234"])
    made.inputs.add(name="x", datatype="FP32", shape=[1])
    assert read_grpc(made.SerializeToString())
    for name, value in attack.items():
        made.ClearField(name)
        made.MergeFrom(message("ModelInferRequest")(**{name: value}))
    with pytest.raises(HeadtailError):
        read_grpc(made.SerializeToString())


def test_an_id_can_be_read_of_what_cannot():
    made = message("ModelInferRequest")(model_name="toy", id="7")
    assert request_id(made.SerializeToString()) == "7"
    assert request_id(made.SerializeToString() + b"\xff") in ("7", "")
    assert request_id(b"\x1a\x02\xff\xfe") == ""
    assert request_id(b"\x2a\x00" * LIMIT + b"\x1a\x017") == ""


def test_a_length_prefix_is_no_promise():
    for length in (0, 1, 1 << 31, (1 << 32) - 1):
        with pytest.raises(WireFault):
            read_request(struct.pack("<I", length) + b"[]")

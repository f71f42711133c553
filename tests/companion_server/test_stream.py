"""The WebSocket stream with an ordinary WebSocket client, and nothing of ours at that end."""

import contextlib
import json
import logging
import socket
import struct

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from companion_server.conditions import Shed
from companion_server.stream import MAX_IN_FLIGHT
from headtail.offload.sockets import Deadline
from headtail.offload.websocket import WebSocket
from headtail.wire.boundary import INPUT_NAME, encode_boundary
from headtail.wire.oip import InferRequest, NamedArray, decode_response, encode_request
from headtail.wire.split import SplitParameters
from headtail.wire.stream import pack, unpack
from tests.companion_server.conftest import running
from tests.companion_server.held_engine import HeldEngine
from tests.companion_server.operations.conftest import poll

LIMIT = 64 << 20


def opened(server, path="/v2/models/toy/stream", **options):
    url = f"ws://127.0.0.1:{server.port}{path}"
    return connect(url, compression=None, max_size=None, **options)


def request(array, name):
    message = InferRequest((NamedArray("x", array),), id=name, binary_outputs=True)
    return pack(*encode_request(message))


def split_request(bundle, cut_id, name):
    cut, golden = bundle.manifest.cut(cut_id), bundle.golden()
    arrays = [golden[f"cut.{cut_id}.0.{s.name}"] for s in cut.tensors]
    blob = encode_boundary(arrays, cut, "raw32")
    options = SplitParameters(bundle.manifest.bundle_id, cut_id, "raw32", 60_000)
    tensor = NamedArray(INPUT_NAME, np.frombuffer(blob, np.uint8))
    message = InferRequest(
        (tensor,), id=name, parameters=options.to_parameters(), binary_outputs=True
    )
    return pack(*encode_request(message))


def answered(connection):
    """`(id, response)` of the next message, or `(id, fault)` with a dictionary."""
    message = connection.recv(timeout=20)
    if isinstance(message, str):
        fault = json.loads(message)
        return fault["id"], fault
    response = decode_response(*unpack(message, max_body_bytes=LIMIT))
    return response.id, response


@pytest.fixture
def sample(bundle):
    return bundle.golden()["input.0.x"]


def test_the_bytes_of_one_exchange(server, bundle, sample):
    head = {
        "id": "7",
        "inputs": [
            {
                "name": "x",
                "datatype": "FP32",
                "shape": [1, 3, 8, 8],
                "parameters": {"binary_data_size": 768},
            }
        ],
        "outputs": [{"name": "output_0", "parameters": {"binary_data": True}}],
    }
    text = json.dumps(head).encode()
    with opened(server) as connection:
        connection.send(struct.pack("<I", len(text)) + text + sample.tobytes())
        reply = connection.recv(timeout=20)
    (length,) = struct.unpack_from("<I", reply)
    told = json.loads(reply[4 : 4 + length])
    assert (told["id"], told["model_version"]) == ("7", bundle.manifest.bundle_id)
    logits = np.frombuffer(reply[4 + length :], "<f4")
    np.testing.assert_allclose(logits, bundle.golden()["output.0.output_0"][0], rtol=1e-5)


def test_many_requests_in_flight_each_with_its_own_answer(server, bundle, sample):
    expected = bundle.golden()["output.0.output_0"]
    with opened(server) as connection:
        for number in range(60):
            cut_id = ("", "c1", "c2")[number % 3]
            name = f"{cut_id}-{number}"
            made = split_request(bundle, cut_id, name) if cut_id else request(sample, name)
            connection.send(made)
        found = dict(answered(connection) for _ in range(60))
    assert len(found) == 60
    for response in found.values():
        np.testing.assert_allclose(response.outputs[0].array, expected, rtol=1e-4, atol=1e-5)


def test_a_version_in_the_path(server, bundle, sample):
    bundle_id = bundle.manifest.bundle_id
    with opened(server, f"/v2/models/toy/versions/{bundle_id}/stream") as connection:
        connection.send(request(sample, "1"))
        assert answered(connection)[1].model_version == bundle_id


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2/models/toyy/stream", 404),
        (f"/v2/models/toy/versions/{'f' * 64}/stream", 409),
    ],
)
def test_what_is_not_held_is_refused_before_the_handshake(server, caplog, path, status):
    with (
        caplog.at_level(logging.INFO, "companion_server"),
        pytest.raises(InvalidStatus) as caught,
        opened(server, path),
    ):
        pass
    assert poll(lambda: not server.server.server_state.tasks)  # its task is at its end
    (line,) = caplog.records  # and not an error of uvicorn's
    assert line.levelno == logging.INFO
    assert line.getMessage() == f"The WebSocket {path} was refused to 127.0.0.1: {status}."
    response = caught.value.response
    assert response.status_code == status
    assert "toy" in json.loads(response.body)["error"]


def test_an_error_names_its_request_and_the_stream_goes_on(server, bundle, sample):
    with opened(server) as connection:
        connection.send(request(sample[:, :1], "small"))
        assert answered(connection)[1]["status"] == 422
        connection.send(
            split_request(bundle, "c1", "other").replace(
                bundle.manifest.bundle_id.encode(), b"e" * 64
            )
        )
        name, fault = answered(connection)
        assert (name, fault["status"]) == ("other", 409)
        assert fault["held"] == {bundle.manifest.bundle_id: ["c1", "c2"]}
        connection.send(request(sample, "good"))
        assert answered(connection)[0] == "good"


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"", 400),
        (b"\xff\xff\xff\xff{}", 400),
        (b"\2\0\0\0[]", 400),
        (b"\2\0\0\0{}", 400),  # no id
        ("{}", 400),
        ("cancel", 400),
        ('{"cancel": 1}', 400),
    ],
)
def test_what_is_no_request_is_told_without_an_id(server, message, status):
    with opened(server) as connection:
        connection.send(message)
        name, fault = answered(connection)
    assert (name, fault["status"]) == ("", status)


def test_a_message_over_the_limit_ends_the_connection(bundle_path):
    with running([bundle_path], max_body_bytes=1000) as server, opened(server) as connection:
        connection.send(b"\0\0\0\0" + bytes(1000))
        assert answered(connection)[1]["status"] == 400
        connection.send(bytes(1005))
        with pytest.raises(ConnectionClosed) as caught:
            connection.recv(timeout=20)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009  # RFC 6455 §7.4.1: too big


@pytest.fixture
def held(bundle):
    engine = HeldEngine(bundle)
    with running([bundle.path], engine=engine) as server, opened(server) as connection:
        yield engine, connection
        connection.close()


def test_a_cancelled_request_leaves_the_queue_and_is_not_answered(held, sample):
    engine, connection = held
    for name in ("a", "b"):
        connection.send(request(sample, name))
    engine.wait("begun", 2)
    connection.send('{"cancel": "a"}')
    engine.wait("dropped", 1)
    connection.send('{"cancel": "unheard-of"}')
    engine.go()
    assert answered(connection)[0] == "b"
    connection.send(request(sample, "a"))  # the id is free again
    assert answered(connection)[0] == "a"


def test_a_client_that_leaves_takes_its_requests_along(held, sample):
    engine, connection = held
    for name in ("a", "b", "c"):
        connection.send(request(sample, name))
    engine.wait("begun", 3)
    connection.close()
    engine.wait("dropped", 3)


def test_an_id_in_flight_is_not_taken_twice(held, sample):
    engine, connection = held
    connection.send(request(sample, "a"))
    engine.wait("begun", 1)
    connection.send(request(sample, "a"))
    name, fault = answered(connection)
    assert (name, fault["status"]) == ("", 400)
    assert "'a'" in fault["error"]
    engine.go()
    assert answered(connection)[0] == "a"


def test_a_full_connection_is_not_read_until_there_is_room(held, sample):
    engine, connection = held
    for number in range(MAX_IN_FLIGHT + 8):
        connection.send(request(sample, str(number)))
    engine.wait("begun", MAX_IN_FLIGHT)
    assert engine.begun == MAX_IN_FLIGHT
    engine.go()
    names = {answered(connection)[0] for _ in range(MAX_IN_FLIGHT + 8)}
    assert names == {str(number) for number in range(MAX_IN_FLIGHT + 8)}


def test_a_shed_request_says_when_to_come_back(held, sample):
    engine, connection = held
    engine.error = Shed("a", expected="b", retry_after_s=1.5, reason="queue")
    engine.go()
    connection.send(request(sample, "a"))
    fault = answered(connection)[1]
    assert (fault["status"], fault["retry_after_ms"]) == (429, 1500)


def test_an_unforeseen_error_is_told_without_its_text(held, sample):
    engine, connection = held
    engine.error = RuntimeError("secret")
    engine.go()
    connection.send(request(sample, "a"))
    fault = answered(connection)[1]
    assert (fault["id"], fault["status"]) == ("a", 500)
    assert "secret" not in fault["error"]


def send_many(connection, count, message):
    for number in range(count):
        connection.send(message.replace(b'"id":"0000"', b'"id":"%04d"' % number), Deadline(0.5))


def test_a_client_that_reads_nothing_is_held_back(bundle):
    """Its answers stay in the sockets; the server stops taking requests, and memory stays flat."""
    engine = HeldEngine(bundle)
    message = request(np.zeros((1024, 3, 8, 8), np.float32), "0000")  # 0.8 MB, answers of 0.3 MB
    with running([bundle.path], engine=engine) as server:
        engine.go()
        raw = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        url = f"{server.url}/v2/models/toy/stream"
        stream = WebSocket(raw, url, {}, max_bytes=LIMIT, deadline=Deadline(20))
        with contextlib.closing(stream), pytest.raises(TimeoutError):
            send_many(stream, 200, message)
        assert MAX_IN_FLIGHT <= engine.begun < 150


def test_what_is_counted(bundle_path, bundle, sample):
    with running([bundle_path]) as server:
        with opened(server) as connection:
            connection.send(request(sample, "1"))
            connection.send(request(sample[:, :1], "2"))
            assert {answered(connection)[0] for _ in range(2)} == {"1", "2"}
        text = server.ask("GET", "/metrics")[2].decode()
    for status in ("200", "422"):
        assert f'protocol="ws",status="{status}"' in text


def test_messages_and_bodies_share_one_bound_of_memory(bundle, sample):
    engine, message = HeldEngine(bundle), request(sample, "1")
    with running([bundle.path], engine=engine, max_body_memory=len(message) + 1) as server:
        with opened(server) as connection:
            connection.send(message)
            engine.wait("begun", 1)
            connection.send(request(sample, "2"))
            name, fault = answered(connection)
            assert (name, fault["status"], fault["retry_after_ms"]) == ("2", 429, 1000)
            status, told = server.json("POST", "/v2/models/toy/infer", bytes(100))
            assert (status, told["retry_after_ms"]) == (429, 1000)
            assert b"in_flight_bytes %.1f" % len(message) in server.ask("GET", "/metrics")[2]
            engine.go()
            assert answered(connection)[0] == "1"
            connection.send(request(sample, "3"))
            assert answered(connection)[0] == "3"
        assert b"in_flight_bytes 0.0" in server.ask("GET", "/metrics")[2]

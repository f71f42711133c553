"""Raw HTTP: what a phone, a stranger and a broken client get."""

import gzip
import json
import re
import socket
import threading

import numpy as np
import pytest

from companion_server.tails import read_program
from headtail.wire.boundary import INPUT_NAME, encode_boundary
from headtail.wire.oip import InferRequest, NamedArray, decode_response, encode_request
from headtail.wire.split import SplitParameters
from tests.companion_server.conftest import running

INFER = "/v2/models/toy/infer"


def plain(array, **parameters):
    return encode_request(InferRequest((NamedArray("x", array),), parameters=parameters))


def split(bundle, *, cut_id="c1", codec="aq8t+deflate", as_cut=None, bundle_id=None, deadline=None):
    cut, golden = bundle.manifest.cut(cut_id), bundle.golden()
    blob = encode_boundary([golden[f"cut.{cut_id}.0.{s.name}"] for s in cut.tensors], cut, codec)
    options = SplitParameters(
        bundle_id or bundle.manifest.bundle_id, as_cut or cut_id, codec, deadline
    )
    tensor = NamedArray(INPUT_NAME, np.frombuffer(blob, np.uint8))
    return encode_request(InferRequest((tensor,), parameters=options.to_parameters()))


def close(found, expected):
    assert float(np.abs(found - expected).max()) < 0.02  # aq8t: a step is 1/255 of the range


@pytest.fixture
def sample(bundle):
    return bundle.golden()["input.0.x"]


def test_a_split_request_is_answered_from_its_cut(server, bundle):
    headers, body = split(bundle, cut_id="c2")
    status, got, data = server.ask("POST", INFER, body, headers)
    assert status == 200
    response = decode_response(dict(got.items()), data)
    close(response.outputs[0].array, bundle.golden()["output.0.output_0"])
    assert response.model_version == bundle.manifest.bundle_id


def test_server_timing_has_every_stage_in_ms(server, sample):
    headers, body = plain(sample)
    _, got, _ = server.ask("POST", INFER, body, headers)
    stages = dict(re.findall(r"(\w+);dur=([\d.]+)", got["server-timing"]))
    assert set(stages) == {"queue", "decode", "compute", "encode"}
    assert 0 < float(stages["compute"]) < 10_000


def test_many_requests_on_one_connection(server, bundle):
    headers, body = split(bundle)
    with server.connect() as connection:
        for _ in range(5):
            connection.request("POST", INFER, body, headers)
            reply = connection.getresponse()
            assert (reply.status, len(reply.read()) > 0) == (200, True)


@pytest.mark.parametrize("path", ["/v2/nothing", "/v2/models/toy/trace", "/v2/"])
def test_unknown_routes_answer_in_the_protocols_shape(server, path):
    status, body = server.json("GET", path)
    assert status == 404
    assert set(body) == {"error"}


def test_wrong_method(server):
    status, body = server.json("GET", INFER)
    assert status == 405
    assert set(body) == {"error"}


def test_unknown_model_names_the_nearest(server):
    status, body = server.json("POST", "/v2/models/toyy/infer", b"")
    assert status == 404
    assert "Did you mean 'toy'?" in body["error"]
    assert server.json("GET", "/v2/models/toyy")[0] == 404


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", {}),
        (b"{", {}),
        (b"[1]", {}),
        (b'{"inputs": 3}', {}),
        (b'{"inputs": []} trailing', {}),
        (b'{"inputs": [], "inputs": []}', {}),
        (b"[" * 100_000, {}),
        (b"\xff\xfe", {}),
        (b"{}", {"Inference-Header-Content-Length": "99"}),
        (b"{}", {"Inference-Header-Content-Length": "-1"}),
        (b"{}", {"Inference-Header-Content-Length": "x"}),
        (b'{"inputs":[{"name":"x","datatype":"BF16","shape":[1],"data":[1]}]}', {}),
        (b"\x1f\x8bnot gzip", {"Content-Encoding": "gzip"}),
        (b"{}", {"Content-Encoding": "br"}),
    ],
)
def test_malformed_requests_are_400(server, body, headers):
    status, answer = server.json("POST", INFER, body, headers)
    assert status == 400, answer
    assert set(answer) == {"error"}


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((1, 3, 8, 9), np.float32),
        np.zeros((3, 8, 8), np.float32),
        np.zeros((1, 3, 8, 8), np.float64),
        np.zeros((0, 3, 8, 8), np.float32),
    ],
)
def test_other_tensors_than_the_models_are_422(server, array):
    headers, body = plain(array)
    status, answer = server.json("POST", INFER, body, headers)
    assert status == 422, answer


def test_wrong_names_missing_and_repeated_inputs_are_422(server, sample):
    for names in (("y",), (), ("x", "y"), ("x", "x")):
        message = InferRequest(tuple(NamedArray(name, sample) for name in names))
        headers, body = encode_request(message)
        status, answer = server.json("POST", INFER, body, headers)
        assert status in (400, 422), answer


def test_an_output_the_model_lacks_is_422(server):
    body = json.dumps(
        {
            "inputs": [
                {"name": "x", "datatype": "FP32", "shape": [1, 3, 8, 8], "data": [0.0] * 192}
            ],
            "outputs": [{"name": "output_9"}],
        }
    )
    status, answer = server.json("POST", INFER, body)
    assert status == 422
    assert "output_9" in answer["error"]


def test_another_bundle_or_cut_is_409_and_lists_what_is_held(server, bundle):
    held = {bundle.manifest.bundle_id: ["c1", "c2"]}
    for request in (split(bundle, bundle_id="e" * 64), split(bundle, as_cut="c9")):
        headers, body = request
        status, answer = server.json("POST", INFER, body, headers)
        assert (status, answer["held"]) == (409, held), answer
    headers, body = split(bundle)
    path = f"/v2/models/toy/versions/{'e' * 64}/infer"
    assert server.json("POST", path, body, headers)[0] == 409


def test_a_boundary_of_another_cut_is_refused(server, bundle):
    headers, body = split(bundle, cut_id="c2", as_cut="c1")
    status, answer = server.json("POST", INFER, body, headers)
    assert status in (400, 422), answer


def test_a_spent_budget_is_504_and_nothing_is_computed(bundle_path, bundle):
    computed = []

    class Watched:
        def __init__(self, program):
            self.program = program

        def __getattr__(self, name):
            return getattr(self.program, name)

        def enter(self, boundary, **options):
            module = self.program.enter(boundary, **options)
            module.register_forward_pre_hook(lambda *_: computed.append(list(boundary)))
            return module

    with running(
        [bundle_path], load_program=lambda *paths: Watched(read_program(*paths))
    ) as server:
        warmed = len(computed)
        assert warmed  # golden activations
        headers, body = split(bundle, deadline=0)
        status, answer = server.json("POST", INFER, body, headers)
        assert status == 504, answer
        assert len(computed) == warmed
        headers, body = split(bundle, deadline=60_000)
        assert server.ask("POST", INFER, body, headers)[0] == 200
        assert len(computed) > warmed


def test_a_declared_length_over_the_limit_is_refused_before_it_is_sent(bundle_path):
    with running([bundle_path], max_body_bytes=1000) as server, server.connect() as connection:
        connection.putrequest("POST", INFER)
        connection.putheader("Content-Length", "1001")
        connection.endheaders()  # not one byte of the body
        reply = connection.getresponse()
        assert reply.status == 413
        assert reply.headers["connection"] == "close"
        assert "1001" in json.loads(reply.read())["error"]


def test_a_streamed_body_is_refused_where_it_passes_the_limit(bundle_path):
    with (
        running([bundle_path], max_body_bytes=1000) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw,
    ):
        raw.sendall(
            f"POST {INFER} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        raw.sendall(b"258\r\n" + b"x" * 600 + b"\r\n")
        raw.sendall(b"258\r\n" + b"x" * 600 + b"\r\n")  # and no end
        assert raw.recv(4096).startswith(b"HTTP/1.1 413")


def test_a_small_body_that_unpacks_to_a_large_one_is_413(bundle_path):
    with running([bundle_path], max_body_bytes=10_000) as server:
        bomb = gzip.compress(bytes(1 << 20))
        status, answer = server.json("POST", INFER, bomb, {"Content-Encoding": "gzip"})
        assert len(bomb) < 10_000
        assert status == 413, answer


def test_live_but_not_ready_while_tails_load(bundle_path, sample):
    may_load = threading.Event()

    def slowly(*paths):
        assert may_load.wait(30)
        return read_program(*paths)

    headers, body = plain(sample)
    with running([bundle_path], load_program=slowly, wait=False) as server:
        try:
            assert server.ask("GET", "/v2/health/live")[0] == 200
            assert server.ask("GET", "/v2/health/ready")[0] == 503
            assert server.ask("GET", "/v2/models/toy/ready")[0] == 503
            assert server.json("POST", INFER, body, headers)[0] == 503
            assert server.ask("GET", "/v2/bundles")[0] == 200
        finally:
            may_load.set()
        deadline = threading.Event()
        for _ in range(500):
            if server.ask("GET", "/v2/health/ready")[0] == 200:
                break
            deadline.wait(0.02)
        assert server.ask("POST", INFER, body, headers)[0] == 200


def test_the_event_loop_answers_while_a_tail_computes(bundle_path, sample):
    armed, computing, go_on = threading.Event(), threading.Event(), threading.Event()

    class Held:
        def __init__(self, program):
            self.program = program

        def __getattr__(self, name):
            return getattr(self.program, name)

        def enter(self, boundary, **options):
            module = self.program.enter(boundary, **options)
            module.register_forward_pre_hook(hold)
            return module

    def hold(*_):
        if armed.is_set():
            computing.set()
            assert go_on.wait(30)

    headers, body = plain(sample)
    with running([bundle_path], load_program=lambda *paths: Held(read_program(*paths))) as server:
        armed.set()
        replies = []
        client = threading.Thread(
            target=lambda: replies.append(server.ask("POST", INFER, body, headers))
        )
        client.start()
        try:
            assert computing.wait(30)
            assert server.ask("GET", "/v2/health/live")[0] == 200
        finally:
            go_on.set()
            client.join(30)
        assert replies[0][0] == 200


def test_two_versions_of_one_model(bundle, newer):
    with running([bundle.path, newer.path]) as server:
        ids = [bundle.manifest.bundle_id, newer.manifest.bundle_id]
        assert server.json("GET", "/v2/models/toy")[1]["versions"] == ids
        for held in (bundle, newer):
            headers, body = split(held)  # split.bundle alone names the version
            _, got, data = server.ask("POST", INFER, body, headers)
            response = decode_response(dict(got.items()), data)
            assert response.model_version == held.manifest.bundle_id
            close(response.outputs[0].array, held.golden()["output.0.output_0"])
        headers, body = split(bundle)
        status, answer = server.json(
            "POST", f"/v2/models/toy/versions/{ids[1]}/infer", body, headers
        )
        assert status == 409, answer

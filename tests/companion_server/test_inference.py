"""`infer` itself, without a socket: any bytes get a reply or an error that is the client's."""

import asyncio
import json
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from companion_server.app import engine_in_process
from companion_server.conditions import DeadlinePassed
from companion_server.inference import Origin, RawRequest, Service, answer
from companion_server.settings import Settings
from companion_server.store import BundleStore
from headtail.errors import BundleMismatch, HeadtailError, TensorMismatch
from headtail.wire.boundary import INPUT_NAME, encode_boundary
from headtail.wire.oip import InferRequest, NamedArray, RequestedOutput, decode_response
from headtail.wire.oip import encode_request as encode
from headtail.wire.split import SplitParameters

LIMIT = 1 << 20
CLIENTS_FAULT = (*range(400, 500), 504)  # 504: the budget the client gave was too small


@pytest.fixture(scope="module")
def ask(bundle):
    """`(headers, body) -> Reply`, as the route does it but without a socket."""
    store = BundleStore([bundle.path])
    engine = engine_in_process(Settings.of())
    service = Service(store, engine, LIMIT, engine.check_ready)

    def run(headers, body, *, version="", late_ms=0.0):
        arrived = time.monotonic() - late_ms / 1e3
        lowered = {key.lower(): value for key, value in headers.items()}
        raw = RawRequest(Origin("toy", version, "tests", arrived), lowered, body)
        return loop.run_until_complete(answer(raw, service))

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        runner.run(engine.start())
        runner.run(engine.load(store.version("toy")))
        yield run
        runner.run(engine.close())
    store.close()


@pytest.fixture(scope="module")
def frame(bundle):
    cut = bundle.manifest.cut("c1")
    blob = encode_boundary([bundle.golden()["cut.c1.0.relu"]], cut, "aq8t+deflate")
    return np.frombuffer(blob, np.uint8)


@pytest.fixture(scope="module")
def message(bundle, frame):
    parameters = SplitParameters(bundle.manifest.bundle_id, "c1", "aq8t+deflate", 1000)
    request = InferRequest((NamedArray(INPUT_NAME, frame),), parameters=parameters.to_parameters())
    return encode(request)


@given(body=st.binary(max_size=300), length=st.none() | st.integers(-1, 400))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_noise_is_always_the_clients_fault(ask, body, length):
    headers = {} if length is None else {"Inference-Header-Content-Length": str(length)}
    with pytest.raises(HeadtailError) as caught:
        ask(headers, body)
    assert caught.value.http_status in CLIENTS_FAULT


@given(data=st.data())
@settings(deadline=None, max_examples=300)
def test_a_damaged_message_is_answered_or_the_clients_fault(ask, message, data):
    headers, body = message
    damaged = bytearray(body)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    cut_at = data.draw(st.none() | st.integers(0, len(damaged)))
    try:
        reply = ask(headers, bytes(damaged[:cut_at]))
    except HeadtailError as error:
        assert error.http_status in CLIENTS_FAULT  # noqa: PT017  # a reply is allowed as well
    else:
        assert decode_response(reply.headers, reply.body).model_name == "toy"


@given(
    inputs=st.lists(
        st.tuples(
            st.sampled_from(["x", "boundary", "y", ""]),
            st.sampled_from([np.float32, np.uint8, np.int64, np.float16]),
            st.lists(st.integers(0, 4), max_size=5),
        ),
        min_size=1,
        max_size=3,
    ),
    parameters=st.dictionaries(
        st.sampled_from(
            ["split.bundle", "split.cut", "split.codec", "split.deadline_ms", "split.x", "timeout"]
        ),
        st.sampled_from(["c1", "aq8t+deflate", 0, -1, 5, 1.5, True, "", "x" * 300]),
    ),
    outputs=st.lists(st.sampled_from(["output_0", "output_1", "z"]), max_size=3),
)
@settings(deadline=None, max_examples=200)
def test_well_formed_requests_for_the_wrong_thing(ask, inputs, parameters, outputs):
    request = InferRequest(
        tuple(NamedArray(name, np.zeros(shape, dtype)) for name, dtype, shape in inputs),
        outputs=tuple(RequestedOutput(name, binary=True) for name in outputs),
        parameters=parameters,
    )
    with pytest.raises(HeadtailError) as caught:
        ask(*encode(request))
    assert caught.value.http_status in CLIENTS_FAULT


def test_the_budget_counts_from_the_first_byte(ask, message):
    assert ask(*message, late_ms=500).body
    with pytest.raises(DeadlinePassed, match=r"-5\d\d ms were left of the deadline"):
        ask(*message, late_ms=1500)


def test_the_codec_promised_must_be_the_frames(ask, bundle, frame):
    parameters = SplitParameters(bundle.manifest.bundle_id, "c1", "raw32").to_parameters()
    request = InferRequest((NamedArray(INPUT_NAME, frame),), parameters=parameters)
    with pytest.raises(TensorMismatch, match=r"frame is of codec 'aq8t\+deflate'"):
        ask(*encode(request))


def test_a_codec_that_does_not_exist_is_a_malformed_message_not_a_missing_page(ask, message):
    headers, body = message
    # the same length, so that the header's length still holds
    with pytest.raises(HeadtailError) as caught:
        ask(headers, body.replace(b'"split.codec":"aq8t+deflate"', b'"split.codec":"aq9t+deflate"'))
    assert caught.value.http_status in (400, 422)


def test_classes_instead_of_a_tensor(ask, bundle):
    request = InferRequest(
        (NamedArray("x", bundle.golden()["input.0.x"]),),
        outputs=(
            RequestedOutput("output_0", binary=False, classification=2),
            RequestedOutput("output_1", binary=False),
        ),
    )
    reply = ask(*encode(request))
    classes, tensor = json.loads(reply.body)["outputs"]
    logits = bundle.golden()["output.0.output_0"][0]
    assert (classes["datatype"], classes["shape"]) == ("BYTES", [1, 2])
    assert int(classes["data"][0].split(":")[1]) == logits.argmax()
    assert tensor["datatype"] == "FP32"


def test_outputs_come_in_the_order_asked_for(ask, bundle):
    request = InferRequest(
        (NamedArray("x", bundle.golden()["input.0.x"]),),
        outputs=tuple(RequestedOutput(f"output_{i}", binary=True) for i in (1, 0)),
    )
    reply = ask(*encode(request))
    response = decode_response(reply.headers, reply.body)
    assert [output.name for output in response.outputs] == ["output_1", "output_0"]


def test_a_head_is_cut_from_a_bundle_and_not_from_an_alias(ask, frame):
    parameters = SplitParameters("latest", "c1", "aq8t+deflate").to_parameters()
    request = InferRequest((NamedArray(INPUT_NAME, frame),), parameters=parameters)
    with pytest.raises(BundleMismatch, match="an alias of") as caught:
        ask(*encode(request))
    assert caught.value.held

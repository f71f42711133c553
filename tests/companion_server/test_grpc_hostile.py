"""gRPC callers who mean no good: what is kept of them, and what they are told."""

import threading

import grpc
import pytest

from companion_server.grpc_messages import METHODS, SERVICE, message
from companion_server.operations.limits import Bodies
from companion_server.security.access import OPEN, RPCS
from companion_server.security.gate import Gate
from companion_server.security.keys import KeyRing
from companion_server.security.scopes import Scope
from tests.companion_server.grpc_rig import serving_grpc
from tests.companion_server.held_engine import HeldEngine


@pytest.fixture(scope="module")
def keyed(bundle_path, tmp_path_factory):
    """A channel to a server with keys, and a key for everything but publishing."""
    ring = KeyRing(tmp_path_factory.mktemp("state"))
    key, _ = ring.add("phone", (Scope("infer", "*"), Scope("read", "*")))
    with (
        serving_grpc([bundle_path], gate=Gate(ring)) as port,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield channel, (("authorization", f"Bearer {key}"),)


@pytest.mark.parametrize("method", [m for m in METHODS if RPCS[f"/{SERVICE}/{m}"] != OPEN])
def test_without_a_key_no_message_is_waited_for(keyed, method):
    channel, _ = keyed
    refused = threading.Event()

    def silent():
        refused.wait(30)  # and never says a word
        yield from ()

    try:
        call = channel.stream_stream(f"/{SERVICE}/{method}")(silent(), timeout=20)
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
    finally:
        refused.set()
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_call_without_a_message_is_the_clients_fault(keyed):
    channel, metadata = keyed
    call = channel.stream_stream(f"/{SERVICE}/ModelReady")
    with pytest.raises(grpc.RpcError) as caught:
        list(call(iter(()), metadata=metadata, timeout=20))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "without a message" in caught.value.details()


@pytest.mark.parametrize("letter", ["x", "\U0001f4f1"])
def test_names_of_megabytes_are_refused_in_a_few_words(keyed, letter):
    channel, metadata = keyed
    name = letter * 500_000
    for method, request in (
        ("ModelMetadata", message("ModelMetadataRequest")(name=name)),
        ("ModelInfer", message("ModelInferRequest")(model_name=name)),
        ("ModelMetadata", message("ModelMetadataRequest")(name="toy", version=name)),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(f"/{SERVICE}/{method}")(
                request.SerializeToString(), metadata=metadata, timeout=20
            )
        # RESOURCE_EXHAUSTED is what gRPC makes of an error that is longer than its metadata may be
        assert caught.value.code() in (
            grpc.StatusCode.NOT_FOUND,
            grpc.StatusCode.FAILED_PRECONDITION,
        )
        assert len(caught.value.details()) < 2_500


def test_a_long_error_is_cut(keyed):
    channel, metadata = keyed
    request = message("ModelInferRequest")(model_name="toy")
    for number in range(64):
        request.inputs.add(
            name=f"{number:04}" + "\U0001f4f1" * 200, datatype="FP32", shape=[1]
        ).contents.fp32_contents.append(0.0)
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(f"/{SERVICE}/ModelInfer")(
            request.SerializeToString(), metadata=metadata, timeout=20
        )
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details().startswith("The inputs are ['0000")


def test_the_memory_of_messages_is_bounded(bundle):
    sample = bundle.golden()["input.0.x"]
    request = message("ModelInferRequest")(model_name="toy", raw_input_contents=[sample.tobytes()])
    request.inputs.add(name="x", datatype="FP32", shape=sample.shape)
    data = request.SerializeToString()
    engine, bodies = HeldEngine(bundle), Bodies(len(data) + 1)
    with (
        serving_grpc([bundle.path], engine=engine, bodies=bodies) as port,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        infer = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        first = infer.future(data, timeout=20)
        engine.wait("begun", 1)
        with pytest.raises(grpc.RpcError) as caught:
            infer(data, timeout=20)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "no room for a body" in caught.value.details()
        engine.go()
        first.result()
        infer(data, timeout=20)
    assert bodies.held == 0

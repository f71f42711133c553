"""The unmodified `tritonclient.grpc` against a real gRPC server on loopback."""

import asyncio
import queue
import time
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient import grpc as triton_grpc
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from companion_server.conditions import DeadlinePassed, NotReady, Shed
from companion_server.grpc_calls import Calls
from companion_server.grpc_messages import SERVICE, UNIMPLEMENTED
from companion_server.grpc_service import MAX_IN_FLIGHT, start_grpc
from companion_server.inference import Service
from companion_server.operations.metrics import Metrics
from companion_server.operations.telemetry import Telemetry
from companion_server.security.certificates import ensure_certificate
from companion_server.security.gate import Gate
from companion_server.security.keys import KeyRing, key_id_of
from companion_server.security.scopes import Scope
from headtail.errors import TensorMismatch, UsageFault
from headtail.wire.boundary import INPUT_NAME, encode_boundary
from headtail.wire.split import SplitParameters
from tests.companion_server.grpc_rig import serving_grpc
from tests.companion_server.held_engine import HeldEngine


@pytest.fixture(scope="module")
def port(bundle_path):
    with serving_grpc([bundle_path]) as bound:
        yield bound


@pytest.fixture(scope="module")
def triton(port):
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{port}") as client:
        yield client


def model_input(array, *, typed=False):
    tensor = triton_grpc.InferInput("x", list(array.shape), "FP32")
    if typed:
        tensor._get_tensor().contents.fp32_contents.extend(array.reshape(-1).tolist())
    else:
        tensor.set_data_from_numpy(array)
    return tensor


def boundary_input(bundle, cut_id, codec):
    cut, golden = bundle.manifest.cut(cut_id), bundle.golden()
    arrays = [golden[f"cut.{cut_id}.0.{spec.name}"] for spec in cut.tensors]
    blob = np.frombuffer(encode_boundary(arrays, cut, codec), np.uint8)
    tensor = triton_grpc.InferInput(INPUT_NAME, [blob.size], "UINT8")
    tensor.set_data_from_numpy(blob)
    return tensor


@pytest.fixture
def sample(bundle):
    return bundle.golden()["input.0.x"]


@pytest.fixture
def expected(bundle):
    return bundle.golden()["output.0.output_0"]


def test_health_and_metadata(triton, bundle):
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("toy", bundle.manifest.bundle_id)
    server = triton.get_server_metadata()
    assert server.name == "headtail"
    # the repository is changed over HTTP only
    assert not [name for name in server.extensions if "repository" in name]
    metadata = triton.get_model_metadata("toy")
    assert list(metadata.versions) == [bundle.manifest.bundle_id]
    assert [(t.name, t.datatype, list(t.shape)) for t in metadata.inputs] == [
        ("x", "FP32", [-1, 3, 8, 8])
    ]


def test_the_configuration(triton):
    config = triton.get_model_config("toy").config
    assert (config.name, config.platform, config.max_batch_size) == ("toy", "pytorch_export", 0)
    assert [(t.name, t.data_type, list(t.dims)) for t in config.output] == [
        ("output_0", 11, [-1, 5]),
        ("output_1", 11, [-1, 1, 8, 8]),
    ]


@pytest.mark.parametrize("typed", [False, True])
def test_raw_and_typed_contents(triton, bundle, sample, expected, typed):
    result = triton.infer("toy", [model_input(sample, typed=typed)], request_id="r1")
    np.testing.assert_allclose(result.as_numpy("output_0"), expected, rtol=1e-5, atol=1e-6)
    response = result.get_response()
    assert (response.id, response.model_version) == ("r1", bundle.manifest.bundle_id)


def test_outputs_in_the_order_asked_for(triton, sample):
    wanted = [triton_grpc.InferRequestedOutput(f"output_{i}") for i in (1, 0)]
    response = triton.infer("toy", [model_input(sample)], outputs=wanted).get_response()
    assert [output.name for output in response.outputs] == ["output_1", "output_0"]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_messages(triton, sample, expected, coding):
    result = triton.infer("toy", [model_input(sample)], compression_algorithm=coding)
    np.testing.assert_allclose(result.as_numpy("output_0"), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cut_id", ["c1", "c2"])
def test_the_split_path(triton, bundle, expected, cut_id):
    options = SplitParameters(bundle.manifest.bundle_id, cut_id, "aq8t+deflate", 5000)
    result = triton.infer(
        "toy",
        [boundary_input(bundle, cut_id, "aq8t+deflate")],
        model_version=bundle.manifest.bundle_id,
        parameters=options.to_parameters(),
    )
    np.testing.assert_allclose(result.as_numpy("output_0"), expected, atol=0.02)
    assert result.get_response().parameters["split.compute_ms"].double_param > 0


def test_many_requests_on_one_stream(triton, bundle, sample, expected):
    answers: queue.Queue[Any] = queue.Queue()
    triton.start_stream(lambda result, error: answers.put((result, error)))
    try:
        for number in range(50):
            model = "toy" if number != 7 else "toyy"
            triton.async_stream_infer(model, [model_input(sample)], request_id=str(number))
        got = [answers.get(timeout=20) for _ in range(50)]
    finally:
        triton.stop_stream()
    errors = [error for _, error in got if error is not None]
    assert len(errors) == 1
    assert "Did you mean 'toy'?" in errors[0].message()
    found = {result.get_response().id: result for result, _ in got if result is not None}
    assert set(found) >= {str(number) for number in range(50) if number != 7}
    for number in (0, 49):
        np.testing.assert_allclose(
            found[str(number)].as_numpy("output_0"), expected, rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize(
    ("model", "version", "status"),
    [("toyy", "", "NOT_FOUND"), ("toy", "f" * 64, "FAILED_PRECONDITION")],
)
def test_errors_have_their_status(triton, sample, model, version, status):
    with pytest.raises(InferenceServerException) as caught:
        triton.infer(model, [model_input(sample)], model_version=version)
    assert caught.value.status() == f"StatusCode.{status}"


@pytest.fixture
def held(bundle):
    engine = HeldEngine(bundle)
    with (
        serving_grpc([bundle.path], engine=engine) as port,
        triton_grpc.InferenceServerClient(f"127.0.0.1:{port}") as client,
    ):
        yield engine, client


def test_a_cancelled_call_leaves_the_queue(held, sample):
    engine, client = held
    call = client.async_infer("toy", [model_input(sample)], lambda result, error: None)
    engine.wait("begun", 1)
    call.cancel()
    engine.wait("dropped", 1)


def test_a_cancelled_stream_takes_its_requests_along(held, sample):
    engine, client = held
    client.start_stream(lambda result, error: None)
    for number in range(3):
        client.async_stream_infer("toy", [model_input(sample)], request_id=str(number))
    engine.wait("begun", 3)
    client.stop_stream(cancel_requests=True)
    engine.wait("dropped", 3)


def test_the_calls_deadline_is_the_jobs(held, sample):
    engine, client = held
    before = time.monotonic()
    with pytest.raises(InferenceServerException) as caught:
        client.infer("toy", [model_input(sample)], client_timeout=0.5)
    assert caught.value.status() == "StatusCode.DEADLINE_EXCEEDED"
    engine.wait("dropped", 1)
    assert before < engine.jobs[0].deadline <= before + 0.6
    engine.go()
    client.infer("toy", [model_input(sample)])
    assert engine.jobs[1].deadline is None


def test_a_stream_holds_its_client_back(held, sample):
    engine, client = held
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put(error))
    try:
        for number in range(MAX_IN_FLIGHT + 5):
            client.async_stream_infer("toy", [model_input(sample)], request_id=str(number))
        engine.wait("begun", MAX_IN_FLIGHT)
        assert engine.begun == MAX_IN_FLIGHT
        engine.go()
        assert [answers.get(timeout=20) for _ in range(MAX_IN_FLIGHT + 5)] == [None] * (
            MAX_IN_FLIGHT + 5
        )
    finally:
        client.stop_stream()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DeadlinePassed("a", expected="b", remedy="c"), "DEADLINE_EXCEEDED"),
        (NotReady("a", expected="b", remedy="c"), "UNAVAILABLE"),
        (TensorMismatch("a", expected="b", remedy="c"), "INVALID_ARGUMENT"),
        (Shed("a", expected="b", retry_after_s=1.5, reason="queue"), "RESOURCE_EXHAUSTED"),
        (RuntimeError("secret"), "INTERNAL"),
    ],
)
def test_what_an_engine_refuses_has_its_status(bundle, sample, error, status):
    engine = HeldEngine(bundle, error=error)
    with (
        serving_grpc([bundle.path], engine=engine) as port,
        triton_grpc.InferenceServerClient(f"127.0.0.1:{port}") as client,
    ):
        engine.go()
        with pytest.raises(InferenceServerException) as caught:
            client.infer("toy", [model_input(sample)])
    assert caught.value.status() == f"StatusCode.{status}"
    assert "secret" not in caught.value.message()


@pytest.fixture
def raw(port):
    """`(method, bytes) -> bytes` on a plain channel; raises `grpc.RpcError`."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield lambda method, data: channel.unary_unary(f"/{SERVICE}/{method}")(data, timeout=20)


def test_a_shed_call_says_when_to_come_back(bundle, sample):
    engine = HeldEngine(bundle, error=Shed("a", expected="b", retry_after_s=1.5, reason="queue"))
    request = service_pb2.ModelInferRequest(
        model_name="toy",
        inputs=[{"name": "x", "datatype": "FP32", "shape": sample.shape}],
        raw_input_contents=[sample.tobytes()],
    )
    with (
        serving_grpc([bundle.path], engine=engine) as port,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        engine.go()
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(f"/{SERVICE}/ModelInfer")(request.SerializeToString(), timeout=20)
    told = dict(caught.value.trailing_metadata())
    assert told == {"retry-after": "2", "grpc-retry-pushback-ms": "1500"}


@pytest.mark.parametrize("method", ["ModelInfer", "ModelReady", "ModelMetadata", "ModelConfig"])
def test_bytes_that_are_no_message_are_the_clients_fault(raw, method):
    for data in (b"\xff", b"\x0a\xff\xff\xff\xff\x7f", b"\x0a\x02\xff\xfe", b"\x0b"):
        with pytest.raises(grpc.RpcError) as caught:
            raw(method, data)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("method", UNIMPLEMENTED)
def test_what_is_not_offered_says_so(raw, method):
    with pytest.raises(grpc.RpcError) as caught:
        raw(method, b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "/openapi.json" in caught.value.details()


def test_a_message_over_the_limit_is_refused_packed_or_not(bundle):
    engine = HeldEngine(bundle)
    with (
        serving_grpc([bundle.path], engine=engine, max_body_bytes=1 << 20) as port,
        grpc.insecure_channel(
            f"127.0.0.1:{port}", options=[("grpc.max_send_message_length", -1)]
        ) as channel,
    ):
        call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        for coding in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
            with pytest.raises(grpc.RpcError, match="larger than max") as caught:
                call(bytes(8 << 20), timeout=20, compression=coding)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_an_address_in_use_is_told(port):
    async def again():
        nothing = HeldEngine(None)
        service = Service(None, nothing, 1 << 20, nothing.check_ready)  # type: ignore[arg-type]  # not asked
        await start_grpc(Calls(service), Gate(None), host="127.0.0.1", port=port)

    with pytest.raises(UsageFault, match="Cannot serve gRPC"):
        asyncio.run(again())


@pytest.fixture(scope="module")
def keyed(bundle_path, tmp_path_factory):
    """A server with keys and a certificate: `(port, certificate, ring)`."""
    folder = tmp_path_factory.mktemp("state")
    ring = KeyRing(folder)
    certificate = ensure_certificate(folder, names=("localhost",))
    tls = (certificate.key.read_bytes(), certificate.chain.read_bytes())
    with serving_grpc([bundle_path], gate=Gate(ring), tls=tls) as port:
        yield port, certificate, ring


def secured(keyed, key=None):
    port, certificate, _ = keyed
    client = triton_grpc.InferenceServerClient(
        f"localhost:{port}", ssl=True, root_certificates=str(certificate.chain)
    )
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    return client, headers


def scoped(ring, *scopes):
    return ring.add("test", tuple(Scope.parse(text) for text in scopes))[0]


def test_without_a_key_only_health_is_told(keyed, sample):
    client, _ = secured(keyed)
    with client:
        assert client.is_server_live()
        assert client.is_server_ready()
        for call in (
            lambda: client.infer("toy", [model_input(sample)]),
            lambda: client.get_model_metadata("toy"),
            client.get_server_metadata,
            lambda: client.get_model_config("toy"),
            lambda: client.is_model_ready("toy"),
        ):
            with pytest.raises(InferenceServerException) as caught:
                call()
            assert caught.value.status() == "StatusCode.UNAUTHENTICATED"


def test_a_scope_is_of_a_verb_and_a_model(keyed, sample, expected):
    ring = keyed[2]
    client, headers = secured(keyed, scoped(ring, "infer:to*", "read:other"))
    with client:
        result = client.infer("toy", [model_input(sample)], headers=headers)
        np.testing.assert_allclose(result.as_numpy("output_0"), expected, rtol=1e-5, atol=1e-6)
        with pytest.raises(InferenceServerException) as caught:
            client.get_model_metadata("toy", headers=headers)
        assert caught.value.status() == "StatusCode.PERMISSION_DENIED"
    client, headers = secured(keyed, scoped(ring, "infer:other"))
    with client, pytest.raises(InferenceServerException) as caught:
        client.infer("toy", [model_input(sample)], headers=headers)
    assert caught.value.status() == "StatusCode.PERMISSION_DENIED"


def test_a_revoked_key_ends_within_its_stream(keyed, sample):
    ring = keyed[2]
    key = scoped(ring, "infer:*")
    client, headers = secured(keyed, key)
    answers: queue.Queue[Any] = queue.Queue()
    with client:
        client.start_stream(lambda result, error: answers.put(error), headers=headers)
        client.async_stream_infer("toy", [model_input(sample)])
        assert answers.get(timeout=20) is None
        ring.revoke(key_id_of(key))
        client.async_stream_infer("toy", [model_input(sample)])
        assert "not valid" in answers.get(timeout=20).message()
        client.stop_stream()


def test_what_is_counted(bundle, sample):
    metrics = Metrics()
    with (
        serving_grpc([bundle.path], telemetry=Telemetry(metrics)) as port,
        triton_grpc.InferenceServerClient(f"127.0.0.1:{port}") as client,
    ):
        client.infer("toy", [model_input(sample)])
        with pytest.raises(InferenceServerException):
            client.infer("toyy", [model_input(sample)])
    text = metrics.exposition().decode()
    assert 'protocol="grpc",status="200"' in text
    assert 'protocol="grpc",status="404"' in text

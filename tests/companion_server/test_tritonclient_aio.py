"""The unmodified `tritonclient.http.aio` and `tritonclient.grpc.aio` against real servers."""

import asyncio

import numpy as np
import pytest
from tritonclient import grpc as triton_grpc
from tritonclient import http as triton_http
from tritonclient.grpc import aio as grpc_aio
from tritonclient.http import aio as http_aio
from tritonclient.utils import InferenceServerException

from headtail.wire.boundary import INPUT_NAME, encode_boundary
from headtail.wire.split import SplitParameters
from tests.companion_server.grpc_rig import serving_grpc


@pytest.fixture(scope="module")
def grpc_port(bundle_path):
    with serving_grpc([bundle_path]) as bound:
        yield bound


@pytest.fixture
def sample(bundle):
    return bundle.golden()["input.0.x"]


@pytest.fixture
def expected(bundle):
    return bundle.golden()["output.0.output_0"]


def over_http(server, work):
    async def run():
        async with http_aio.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
            return await work(client)

    return asyncio.run(run())


def over_grpc(port, work):
    async def run():
        async with grpc_aio.InferenceServerClient(f"127.0.0.1:{port}") as client:
            return await work(client)

    return asyncio.run(run())


def http_input(array, *, binary=True):
    tensor = triton_http.InferInput("x", list(array.shape), "FP32")
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def grpc_input(array):
    tensor = triton_grpc.InferInput("x", list(array.shape), "FP32")
    tensor.set_data_from_numpy(array)
    return tensor


def check(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_http_health_and_metadata(server, bundle):
    async def work(client):
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("toy")
        assert (await client.get_server_metadata())["name"] == "headtail"
        assert (await client.get_model_config("toy"))["name"] == "toy"
        return await client.get_model_metadata("toy")

    assert over_http(server, work)["versions"] == [bundle.manifest.bundle_id]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("coding", [None, "gzip", "deflate"])
def test_http_tensors_either_way(server, sample, expected, binary_in, binary_out, coding):
    async def work(client):
        return await client.infer(
            "toy",
            [http_input(sample, binary=binary_in)],
            outputs=[triton_http.InferRequestedOutput("output_0", binary_data=binary_out)],
            request_id="r7",
            request_compression_algorithm=coding,
            response_compression_algorithm=coding,
        )

    result = over_http(server, work)
    check(result.as_numpy("output_0"), expected)
    assert result.get_response()["id"] == "r7"


def test_http_split_with_parameters(server, bundle, expected):
    cut, golden = bundle.manifest.cut("c2"), bundle.golden()
    blob = np.frombuffer(
        encode_boundary([golden[f"cut.c2.0.{s.name}"] for s in cut.tensors], cut, "raw32"), np.uint8
    )
    options = SplitParameters(bundle.manifest.bundle_id, "c2", "raw32", 5000).to_parameters()

    async def work(client):
        tensor = triton_http.InferInput(INPUT_NAME, [blob.size], "UINT8")
        tensor.set_data_from_numpy(blob)
        return await client.infer("toy", [tensor], parameters=options)

    check(over_http(server, work).as_numpy("output_0"), expected)


def test_http_classes(server, sample, expected):
    async def work(client):
        wanted = triton_http.InferRequestedOutput("output_0", class_count=2)
        return await client.infer("toy", [http_input(sample)], outputs=[wanted])

    first = over_http(server, work).as_numpy("output_0")[0, 0].decode()
    assert int(first.split(":")[1]) == int(expected.argmax())


def test_http_many_at_once(server, sample, expected):
    async def work(client):
        asked = (client.infer("toy", [http_input(sample)]) for _ in range(24))
        return await asyncio.gather(*asked)

    for result in over_http(server, work):
        check(result.as_numpy("output_0"), expected)


def test_http_errors_have_their_status(server, sample):
    async def work(client):
        await client.infer("toyy", [http_input(sample)])

    with pytest.raises(InferenceServerException, match="Did you mean") as caught:
        over_http(server, work)
    assert caught.value.status() == "404"


def test_grpc_health_metadata_and_inference(grpc_port, bundle, sample, expected):
    async def work(client):
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("toy")
        assert (await client.get_model_config("toy")).config.name == "toy"
        metadata = await client.get_model_metadata("toy")
        assert list(metadata.versions) == [bundle.manifest.bundle_id]
        return await client.infer("toy", [grpc_input(sample)], request_id="r8")

    result = over_grpc(grpc_port, work)
    check(result.as_numpy("output_0"), expected)
    assert result.get_response().id == "r8"


def test_grpc_classes(grpc_port, sample, expected):
    async def work(client):
        wanted = triton_grpc.InferRequestedOutput("output_0", class_count=2)
        return await client.infer("toy", [grpc_input(sample)], outputs=[wanted])

    first = over_grpc(grpc_port, work).as_numpy("output_0")[0, 0].decode()
    assert int(first.split(":")[1]) == int(expected.argmax())


def test_grpc_streams(grpc_port, sample, expected):
    async def requests():
        for number in range(10):
            yield {"model_name": "toy", "inputs": [grpc_input(sample)], "request_id": str(number)}

    async def work(client):
        return [pair async for pair in client.stream_infer(requests())]

    answers = over_grpc(grpc_port, work)
    assert {result.get_response().id for result, _ in answers} == {str(n) for n in range(10)}
    for result, error in answers:
        assert error is None
        check(result.as_numpy("output_0"), expected)


def test_grpc_errors_have_their_status(grpc_port, sample):
    async def work(client):
        await client.infer("toy", [grpc_input(sample[:, :1])])

    with pytest.raises(InferenceServerException) as caught:
        over_grpc(grpc_port, work)
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"

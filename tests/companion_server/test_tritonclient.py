"""The unmodified `tritonclient.http` against a real server on loopback."""

import numpy as np
import pytest

from headtail.wire.boundary import INPUT_NAME, encode_boundary
from headtail.wire.split import SplitParameters


@pytest.fixture(scope="module")
def triton(server):
    from tritonclient.http import InferenceServerClient

    client = InferenceServerClient(f"127.0.0.1:{server.port}")
    yield client
    client.close()


def model_input(array, *, binary):
    from tritonclient.http import InferInput

    tensor = InferInput("x", list(array.shape), "FP32")
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def wanted_output(name, *, binary):
    from tritonclient.http import InferRequestedOutput

    return InferRequestedOutput(name, binary_data=binary)


def boundary_input(bundle, cut_id, codec, sample=0):
    from tritonclient.http import InferInput

    cut, golden = bundle.manifest.cut(cut_id), bundle.golden()
    arrays = [golden[f"cut.{cut_id}.{sample}.{spec.name}"] for spec in cut.tensors]
    blob = np.frombuffer(encode_boundary(arrays, cut, codec), np.uint8)
    tensor = InferInput(INPUT_NAME, [blob.size], "UINT8")
    tensor.set_data_from_numpy(blob)
    return tensor


def test_health(triton):
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("toy")


def test_server_metadata(triton):
    metadata = triton.get_server_metadata()
    assert metadata["name"] == "headtail"
    assert metadata["extensions"] == [
        "binary_tensor_data",
        "classification",
        "model_configuration",
        "model_repository",
        "model_repository(unload_dependents)",
        "split/1",
    ]


def test_model_metadata(triton, bundle):
    metadata = triton.get_model_metadata("toy", bundle.manifest.bundle_id)
    assert metadata["versions"] == [bundle.manifest.bundle_id]
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3, 8, 8]}]
    assert [o["shape"] for o in metadata["outputs"]] == [[-1, 5], [-1, 1, 8, 8]]
    assert [c["id"] for c in metadata["split"]["cuts"]] == ["c1", "c2"]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_whole_model_with_binary_and_json_tensors(triton, bundle, binary_in, binary_out):
    golden = bundle.golden()
    result = triton.infer(
        "toy",
        [model_input(golden["input.0.x"], binary=binary_in)],
        outputs=[wanted_output(f"output_{i}", binary=binary_out) for i in (0, 1)],
        request_id="r1",
    )
    for i in (0, 1):
        np.testing.assert_allclose(
            result.as_numpy(f"output_{i}"), golden[f"output.0.output_{i}"], rtol=1e-5, atol=1e-6
        )
    response = result.get_response()
    assert (response["id"], response["model_name"]) == ("r1", "toy")
    assert response["model_version"] == bundle.manifest.bundle_id
    assert all(("data" in output) == (not binary_out) for output in response["outputs"])


def test_no_requested_outputs_means_all_in_binary(triton, bundle):
    result = triton.infer("toy", [model_input(bundle.golden()["input.0.x"], binary=True)])
    outputs = result.get_response()["outputs"]
    assert [o["name"] for o in outputs] == ["output_0", "output_1"]
    assert all("binary_data_size" in o["parameters"] for o in outputs)


def test_one_requested_output(triton, bundle):
    golden = bundle.golden()
    result = triton.infer(
        "toy",
        [model_input(golden["input.1.x"], binary=True)],
        outputs=[wanted_output("output_1", binary=True)],
    )
    assert result.as_numpy("output_0") is None
    np.testing.assert_allclose(
        result.as_numpy("output_1"), golden["output.1.output_1"], rtol=1e-5, atol=1e-6
    )


def test_a_batch_gives_each_sample_its_own_answer(triton, bundle):
    golden = bundle.golden()
    batch = np.concatenate([golden["input.0.x"], golden["input.1.x"], golden["input.0.x"]])
    logits = triton.infer("toy", [model_input(batch, binary=True)]).as_numpy("output_0")
    for row, sample in enumerate((0, 1, 0)):
        expected = golden[f"output.{sample}.output_0"][0]
        np.testing.assert_allclose(logits[row], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("request_coding", [None, "gzip", "deflate"])
@pytest.mark.parametrize("response_coding", [None, "gzip", "deflate"])
def test_compressed_bodies(triton, bundle, request_coding, response_coding):
    golden = bundle.golden()
    result = triton.infer(
        "toy",
        [model_input(golden["input.0.x"], binary=True)],
        request_compression_algorithm=request_coding,
        response_compression_algorithm=response_coding,
    )
    np.testing.assert_allclose(
        result.as_numpy("output_0"), golden["output.0.output_0"], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("cut_id", ["c1", "c2"])
@pytest.mark.parametrize(("codec", "tolerance"), [("raw32", 1e-5), ("aq8t+deflate", 0.02)])
def test_the_split_path_needs_no_special_client(triton, bundle, cut_id, codec, tolerance):
    parameters = SplitParameters(bundle.manifest.bundle_id, cut_id, codec, 5000).to_parameters()
    result = triton.infer(
        "toy",
        [boundary_input(bundle, cut_id, codec)],
        model_version=bundle.manifest.bundle_id,
        parameters=parameters,
    )
    expected = bundle.golden()["output.0.output_0"]
    np.testing.assert_allclose(result.as_numpy("output_0"), expected, atol=tolerance)
    told = result.get_response()["parameters"]
    assert told["split.compute_ms"] > 0
    assert told["split.decode_ms"] >= 0
    assert told["split.queue_ms"] >= 0


@pytest.mark.parametrize(
    ("model", "version", "status"),
    [("nothing", "", "404"), ("toy", "f" * 64, "409")],
)
def test_errors_arrive_as_its_exception(triton, bundle, model, version, status):
    from tritonclient.utils import InferenceServerException

    with pytest.raises(InferenceServerException) as caught:
        triton.infer(
            model,
            [model_input(bundle.golden()["input.0.x"], binary=True)],
            model_version=version,
        )
    assert caught.value.status() == status
    assert "held" in caught.value.message().lower() or "Known" in caught.value.message()


@pytest.mark.parametrize("binary_out", [True, False])
def test_classes_as_strings(triton, bundle, binary_out):
    from tritonclient.http import InferRequestedOutput

    golden = bundle.golden()
    result = triton.infer(
        "toy",
        [model_input(golden["input.0.x"], binary=True)],
        outputs=[
            InferRequestedOutput("output_0", binary_data=binary_out, class_count=3),
            InferRequestedOutput("output_1", binary_data=binary_out),
        ],
    )
    classes, logits = result.as_numpy("output_0"), golden["output.0.output_0"][0]
    assert classes.shape == (1, 3)
    texts = [c.decode() if isinstance(c, bytes) else c for c in classes[0]]
    assert [int(text.split(":")[1]) for text in texts] == np.argsort(-logits)[:3].tolist()
    assert float(texts[0].split(":")[0]) == pytest.approx(float(logits.max()), rel=1e-5)
    assert result.as_numpy("output_1").dtype == np.float32


def test_the_configuration(triton, bundle):
    config = triton.get_model_config("toy", bundle.manifest.bundle_id)
    assert (config["name"], config["max_batch_size"]) == ("toy", 0)
    assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1, 3, 8, 8]}]


def test_the_repository(triton, bundle):
    (row,) = triton.get_model_repository_index()
    assert (row["name"], row["version"], row["state"]) == (
        "toy",
        bundle.manifest.bundle_id,
        "READY",
    )
    triton.load_model("toy")
    assert triton.is_model_ready("toy")


def test_asynchronous_requests_of_the_gevent_client(server, bundle):
    from tritonclient.http import InferenceServerClient

    golden = bundle.golden()
    with InferenceServerClient(f"127.0.0.1:{server.port}", concurrency=4) as client:
        asked = [
            client.async_infer("toy", [model_input(golden["input.0.x"], binary=True)])
            for _ in range(12)
        ]
        for each in asked:
            np.testing.assert_allclose(
                each.get_result().as_numpy("output_0"),
                golden["output.0.output_0"],
                rtol=1e-5,
                atol=1e-6,
            )


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.get_inference_statistics("toy"),
        lambda client: client.get_trace_settings(),
        lambda client: client.get_log_settings(),
        lambda client: client.get_system_shared_memory_status(),
        lambda client: client.register_system_shared_memory("a", "b", 10),
        lambda client: client.load_model("toy", config="{}"),
    ],
)
def test_what_is_not_offered_is_refused_in_words(triton, call):
    from tritonclient.utils import InferenceServerException

    with pytest.raises(InferenceServerException) as caught:
        call(triton)
    assert caught.value.status() in ("400", "404")
    told = caught.value.message()
    assert "/openapi.json" in told or "headtail publish" in told


def test_a_timeout_in_microseconds_is_a_deadline(triton, bundle):
    from tritonclient.utils import InferenceServerException

    tensor = model_input(bundle.golden()["input.0.x"], binary=True)
    assert triton.infer("toy", [tensor], timeout=60_000_000)
    with pytest.raises(InferenceServerException) as caught:
        triton.infer("toy", [tensor], timeout=1)
    assert caught.value.status() in ("429", "504")

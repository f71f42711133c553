"""Exported Triton repositories: parsed with Triton's proto, run in a stand-in for its backend."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from companion_server.triton_models import tail_name
from companion_server.triton_repository import front_config, tail_config, write_repository
from headtail.errors import UnknownName, UsageFault
from headtail.metrics import snr_db
from headtail.wire.boundary import INPUT_NAME, encode_boundary
from headtail.wire.split import SplitParameters
from tests.support.capabilities import require
from tests.support.triton_stand_in import (
    InferenceRequest,
    StandInTriton,
    Tensor,
    TritonError,
)

GOLDEN_DB = 60.0
OUTPUTS = ("output_0", "output_1")


@pytest.fixture(autouse=True, scope="module")
def triton_client():
    found = all(importlib.util.find_spec(name) for name in ("tritonclient", "grpc"))
    require(found, "tritonclient[grpc], which has Triton's model_config.proto, is not installed")


@pytest.fixture(scope="module")
def repository(bundle, newer, tmp_path_factory):
    path = tmp_path_factory.mktemp("triton") / "models"
    for one in (bundle, newer):
        write_repository(one, path)
    return path


@pytest.fixture(scope="module")
def triton(repository):
    stand_in = StandInTriton(repository)
    yield stand_in
    stand_in.close()


def frame_of(bundle, cut_id, sample, codec="raw32"):
    cut, golden = bundle.manifest.cut(cut_id), bundle.golden()
    arrays = [golden[f"cut.{cut_id}.{sample}.{spec.name}"] for spec in cut.tensors]
    return np.frombuffer(encode_boundary(arrays, cut, codec), np.uint8)


def phone_request(bundle, cut_id="c1", sample=0, codec="raw32", **options):
    """What Triton makes of a phone's message: one vector of bytes, and the parameters."""
    frame = frame_of(bundle, cut_id, sample, codec)
    told = {"bundle": bundle.manifest.bundle_id, "cut": cut_id, "codec": codec, **options}
    return InferenceRequest(
        inputs=[Tensor(INPUT_NAME, frame)],
        requested_output_names=OUTPUTS,
        parameters=SplitParameters(**told).to_parameters(),
    )


def worst_db(response, bundle, sample=0):
    golden = bundle.golden()
    found = {tensor.name(): tensor.as_numpy() for tensor in response.output_tensors()}
    assert sorted(found) == list(OUTPUTS)
    return min(
        snr_db(reference=golden[f"output.{sample}.{name}"], candidate=found[name])
        for name in OUTPUTS
    )


def test_a_repository_has_one_front_and_a_tail_for_each_bundle(repository, bundle, newer):
    names = {"toy", *(tail_name("toy", one.manifest.bundle_id) for one in (bundle, newer))}
    assert {path.name for path in repository.iterdir()} == names
    for name in names:
        assert (repository / name / "config.pbtxt").is_file()
        assert (repository / name / "1" / "model.py").is_file()


def test_configurations_are_what_tritons_proto_says(triton, bundle):
    front = triton.config("toy")
    assert front.max_batch_size == 0  # a phone's frame has no batch axis
    assert [(s.name, list(s.dims)) for s in front.input] == [("boundary", [-1])]
    assert [list(s.dims) for s in front.output] == [[1, 5], [1, 1, 8, 8]]
    tail = triton.config(tail_name("toy", bundle.manifest.bundle_id))
    assert tail.max_batch_size == 16
    assert tail.input[0].allow_ragged_batch
    assert [list(s.dims) for s in tail.output] == [[5], [1, 8, 8]]
    policy = tail.dynamic_batching.default_queue_policy
    assert policy.allow_timeout_override
    assert policy.max_queue_size == 64
    assert front.instance_group[0].count == 8


@pytest.mark.parametrize("codec", ["raw32", "aq8t+deflate"])
@pytest.mark.parametrize("cut_id", ["c1", "c2"])
def test_a_phones_request_gives_golden_outputs(triton, bundle, newer, cut_id, codec):
    for one in (bundle, newer):  # two versions of the model live side by side
        [response] = triton.infer("toy", [phone_request(one, cut_id, codec=codec)])
        assert not response.has_error()
        assert worst_db(response, one) >= (GOLDEN_DB if codec == "raw32" else 20.0)
        assert f'"split.bundle": "{one.manifest.bundle_id}"' in response.parameters()


def test_frames_of_different_cuts_and_lengths_run_as_one_batch(triton, bundle):
    asked = [
        phone_request(bundle, "c2", 1),
        phone_request(bundle, "c1", 0, "aq8t+deflate"),
        phone_request(bundle, "c1", 0),
    ]
    for request in asked:  # as `Front` hands them on
        request._inputs = [Tensor(INPUT_NAME, request.inputs()[0].as_numpy().reshape(1, -1))]
    responses = triton.infer(tail_name("toy", bundle.manifest.bundle_id), asked)
    assert [worst_db(r, bundle, s) >= 20.0 for r, s in zip(responses, (1, 0, 0), strict=True)]
    assert worst_db(responses[0], bundle, 1) >= GOLDEN_DB
    assert worst_db(responses[2], bundle, 0) >= GOLDEN_DB
    assert all('"split.batch": 3' in response.parameters() for response in responses)


def test_a_deadline_becomes_the_timeout_of_the_tails_queue(triton, bundle):
    [response] = triton.infer("toy", [phone_request(bundle, deadline_ms=250)])
    assert not response.has_error()
    assert [request.timeout_us for request in triton.asked[-2:]] == [0, 250_000]


def refused(triton, request):
    [response] = triton.infer("toy", [request])
    assert response.has_error()
    return response.error()


def test_a_bundle_that_is_not_there_is_tritons_404(triton, bundle):
    request = phone_request(bundle)
    request._parameters = request.parameters().replace(bundle.manifest.bundle_id, "0" * 64)
    assert refused(triton, request).code() == TritonError.NOT_FOUND


def test_another_bundle_with_the_same_first_digits_is_refused(triton, bundle):
    request = phone_request(bundle)
    other = bundle.manifest.bundle_id[:12] + "0" * 52
    request._parameters = request.parameters().replace(bundle.manifest.bundle_id, other)
    error = refused(triton, request)
    assert error.code() == TritonError.INVALID_ARG
    assert "is not held" in error.message()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: setattr(r, "_parameters", "{}"), "no split.* parameters"),
        (lambda r: setattr(r, "_parameters", ""), "no split.* parameters"),
        (
            lambda r: setattr(r, "_parameters", r.parameters().replace("raw32", "raw16")),
            "codec 'raw32'",
        ),
        (
            lambda r: setattr(r, "_inputs", [Tensor(INPUT_NAME, np.zeros(9, np.uint8))]),
            "malformed",
        ),
    ],
)
def test_what_cannot_be_understood_is_a_400(triton, bundle, change, said):
    request = phone_request(bundle)
    change(request)
    error = refused(triton, request)
    assert error.code() == TritonError.INVALID_ARG
    assert said in error.message()


def test_one_bad_frame_does_not_fail_the_batch(triton, bundle):
    good, bad = phone_request(bundle), phone_request(bundle)
    good._inputs = [Tensor(INPUT_NAME, good.inputs()[0].as_numpy().reshape(1, -1))]
    bad._inputs = [Tensor(INPUT_NAME, np.zeros((1, 9), np.uint8))]
    responses = triton.infer(tail_name("toy", bundle.manifest.bundle_id), [bad, good])
    assert [response.has_error() for response in responses] == [True, False]
    assert worst_db(responses[1], bundle) >= GOLDEN_DB


def test_only_the_named_cuts_are_answered(bundle, tmp_path):
    write_repository(bundle, tmp_path / "models", cuts=["c2"])
    stand_in = StandInTriton(tmp_path / "models")
    assert not stand_in.infer("toy", [phone_request(bundle, "c2")])[0].has_error()
    assert "is not held" in refused(stand_in, phone_request(bundle, "c1")).message()
    stand_in.close()


def test_a_cut_that_does_not_exist_is_refused_and_nothing_is_written(bundle, tmp_path):
    with pytest.raises(UnknownName, match="c3"):
        write_repository(bundle, tmp_path / "models", cuts=["c3"])
    assert not (tmp_path / "models").exists()


def test_a_bundle_is_written_once(bundle, repository):
    with pytest.raises(UsageFault, match="exists already"):
        write_repository(bundle, repository)


def test_a_model_of_that_name_with_other_outputs_is_not_overwritten(bundle, tmp_path):
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "config.pbtxt").write_text('name: "toy"\n')
    with pytest.raises(UsageFault, match="another configuration"):
        write_repository(bundle, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]
    assert (folder / "config.pbtxt").read_text() == 'name: "toy"\n'


def test_a_changed_byte_in_the_repository_is_found_when_it_is_loaded(bundle, tmp_path):
    _, tail = write_repository(bundle, tmp_path / "models")
    weights = tail / "1" / "tail.bundle" / "tail" / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(Exception, match=r"weights\.safetensors"):
        StandInTriton(tmp_path / "models")


def test_configurations_are_the_same_text_each_time(bundle):
    assert front_config(bundle) == front_config(bundle)
    assert tail_config(bundle, ["c1"]) == tail_config(bundle, ["c1"])


def test_fronts_need_no_torch():
    probe = "import sys, companion_server.triton_models; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "False"

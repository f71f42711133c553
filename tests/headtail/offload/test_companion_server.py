"""Client and engine against the real companion server, with a real tail, in one process."""

import numpy as np
import pytest

from companion_server.operations.metrics import Metrics
from companion_server.operations.telemetry import Telemetry
from companion_server.operations.tracing import tracer_of
from headtail.bundle import pack_zip
from headtail.offload.client import Companion
from headtail.offload.engine import SplitEngine
from headtail.offload.link import Request
from headtail.offload.refusals import DeadlineMissed, refusal
from headtail.offload.sockets import Deadline
from headtail.tensors import TensorSpec
from headtail.wire.boundary import INPUT_NAME, encode_boundary
from headtail.wire.oip import InferRequest, NamedArray, encode_request
from headtail.wire.split import SplitParameters
from tests.companion_server.conftest import build_model, running, write_bundle


class TorchSession:
    """The toy model run by torch where a phone has its own runtime: head and whole."""

    def __init__(self, seed):
        self._model = build_model(seed)

    def entry_points(self):
        return ["forward", "head_c1", "head_c2"]

    def inputs(self, entry):
        return (TensorSpec("x", "f32", (1, 3, 8, 8)),)

    def outputs(self, entry):
        early = TensorSpec("early", "f32", (1, 4, 8, 8))
        late = TensorSpec("late", "f32", (1, 4, 8, 8))
        if entry == "forward":
            return (
                TensorSpec("output_0", "f32", (1, 5)),
                TensorSpec("output_1", "f32", (1, 1, 8, 8)),
            )
        return (early,) if entry == "head_c1" else (early, late)

    def memory_bytes(self):
        return None

    def run(self, entry, inputs):
        import torch

        with torch.inference_mode():
            early, late, logits, mask = self._model.stages(torch.tensor(inputs[0]))
        found = {"forward": (logits, mask), "head_c1": (early,), "head_c2": (early, late)}
        return [tensor.numpy() for tensor in found[entry]]

    def close(self):
        pass


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("real"))


@pytest.fixture(scope="module")
def newer(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("newer"), seed=1)


@pytest.fixture(scope="module")
def served(real):
    with running([real.path]) as server:
        yield server


@pytest.fixture
def companion(served):
    client = Companion(served.url)
    yield client
    client.close()


def golden(bundle, sample):
    tensors = bundle.golden()
    wanted = [tensors[f"output.{sample}.{spec.name}"] for spec in bundle.manifest.outputs]
    return [tensors[f"input.{sample}.x"]], wanted


@pytest.mark.parametrize("cut", ["c1", "c2"])
@pytest.mark.parametrize(("codec", "tolerance"), [("raw32", 1e-5), ("aq8t+deflate", 0.02)])
def test_split_equals_the_whole_model(real, companion, cut, codec, tolerance):
    engine = SplitEngine(real, TorchSession(0), companion=companion, cut=cut, codec=codec)
    for sample in (0, 1):
        inputs, wanted = golden(real, sample)
        answer = engine.answer(inputs)
        assert (answer.where, answer.reason) == ("split", "")
        for output, reference in zip(answer.outputs, wanted, strict=True):
            np.testing.assert_allclose(output.astype(np.float32), reference, atol=tolerance)
        assert set(answer.server) == {"decode_ms", "queue_ms", "compute_ms"}
    engine.close()


def test_ready_and_bundles(real, companion):
    assert companion.ready()
    [held] = companion.bundles()
    assert (held["bundle_id"], held["name"]) == (real.manifest.bundle_id, "toy")


def test_download(real, companion, tmp_path):
    got = companion.download(real.manifest.bundle_id, tmp_path / "got.bundle")
    assert got.manifest == real.manifest
    for rel in real.manifest.files:
        assert got.file(rel).read_bytes() == real.file(rel).read_bytes()


def test_download_is_resumed(real, companion, tmp_path):
    [held] = companion.bundles()
    pack_zip(real, tmp_path / "whole.zip")  # packing is deterministic
    part = tmp_path / f".got.bundle.{held['sha256']}.part"
    part.write_bytes((tmp_path / "whole.zip").read_bytes()[:1000])
    got = companion.download(real.manifest.bundle_id, tmp_path / "got.bundle")
    assert got.manifest == real.manifest
    assert not part.exists()


def test_another_bundle_of_the_same_name(newer, companion):
    """Weights that differ are never mixed: the answer is the device's own model's."""
    engine = SplitEngine(newer, TorchSession(1), companion=companion, cut="c1")
    inputs, wanted = golden(newer, 0)
    answer = engine.answer(inputs)
    engine.close()
    assert answer.where == "local (bundle mismatch)"
    assert "is not held" in answer.reason
    np.testing.assert_allclose(answer.outputs[0].astype(np.float32), wanted[0], atol=1e-5)


def test_a_spent_deadline_is_dropped_before_compute(real, companion):
    """Through the link: `infer_tail` itself never asks for less than a millisecond."""
    blob = encode_boundary([real.golden()["cut.c1.0.relu"]], real.manifest.cut("c1"), "raw32")
    frame = NamedArray(INPUT_NAME, np.frombuffer(blob, np.uint8))
    options = SplitParameters(real.manifest.bundle_id, "c1", "raw32", 0)
    headers, body = encode_request(InferRequest((frame,), parameters=options.to_parameters()))
    request = Request("POST", "/v2/models/toy/infer", headers, body)
    with companion._link.exchange(request, Deadline(5)) as reply:
        data = reply.read(limit=10_000)
    assert isinstance(refusal(reply.status, reply.headers, data), DeadlineMissed)


def test_the_server_ends_in_mid_run(real):
    session = TorchSession(0)
    inputs, wanted = golden(real, 0)
    with running([real.path]) as server:
        companion = Companion(server.url)
        engine = SplitEngine(real, session, companion=companion, cut="c2", codec="raw32")
        places = [engine.answer(inputs).where for _ in range(5)]
    for _ in range(5):
        answer = engine.answer(inputs)
        places.append(answer.where)
        np.testing.assert_allclose(answer.outputs[0].astype(np.float32), wanted[0], atol=1e-5)
    engine.close()
    companion.close()
    assert places == ["split"] * 5 + ["local (server lost)"] * 5


def test_the_servers_trace_is_the_phones(real):
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    spans = InMemorySpanExporter()
    telemetry = Telemetry(Metrics(), tracer=tracer_of(SimpleSpanProcessor(spans)))
    cut, golden = real.manifest.cut("c1"), real.golden()
    with running([real.path], telemetry=telemetry) as server:
        client = Companion(server.url)
        reply = client.infer_tail(
            "toy",
            real.manifest.bundle_id,
            cut,
            "raw32",
            [golden["cut.c1.0.relu"]],
            deadline_ms=5000,
        )
        client.close()
    found = {f"{span.context.trace_id:032x}" for span in spans.get_finished_spans()}
    assert found == {reply.trace_id}

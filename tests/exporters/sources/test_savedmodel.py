"""TensorFlow SavedModels: to LiteRT and Core ML, without cuts; what needs a tail says so."""

import os
import subprocess
import sys

import httpx
import numpy as np
import pytest
from PIL import Image

from exporters.source import load_module, load_source
from exporters.sources.savedmodel import ForeignModel
from headtail.bundle import open_bundle
from headtail.demo import serving
from headtail.errors import (
    GateFailed,
    MissingDependency,
    SourceFault,
    UsageFault,
)
from tests.exporters.sources.commands import run

# In a process of its own: TensorFlow's eager runtime is not started beside torch.
WRITER = """
import sys
import numpy as np, tensorflow as tf
rng = np.random.default_rng(0)
def noise(*shape): return tf.Variable((rng.normal(size=shape) * 0.3).astype("float32"))
class Net(tf.Module):
    def __init__(self):
        self.first, self.second, self.last = noise(3, 3, 3, 8), noise(3, 3, 8, 16), noise(16, 5)
    @tf.function
    def classify(self, image):
        x = tf.nn.relu(tf.nn.conv2d(image, self.first, 2, "SAME"))
        x = tf.nn.relu(tf.nn.conv2d(x, self.second, 2, "SAME"))
        scores = tf.reduce_mean(x, [1, 2]) @ self.last
        return {"scores": scores, "best": tf.cast(tf.argmax(scores, 1), tf.int32)}
    @tf.function
    def mixed(self, image, factor):
        return {"scores": self.classify(image)["scores"] * factor}
net = Net()
def picture(*shape): return tf.TensorSpec(shape, tf.float32, name="image")
def write(name, function): tf.saved_model.save(net, f"{sys.argv[1]}/{name}", signatures=function)
small = net.classify.get_concrete_function(picture(None, 32, 32, 3))
write("good", {"serving_default": small})
write("unnamed", {"other": small})
write("free", {"serving_default": net.classify.get_concrete_function(picture(None, None, 32, 3))})
factor = tf.TensorSpec((None, 1), tf.float32, name="factor")
write("two", {"serving_default": net.mixed.get_concrete_function(picture(None, 32, 32, 3), factor)})
"""


def test_without_tensorflow_it_is_one_clear_error(tmp_path, monkeypatch):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    for name in [n for n in sys.modules if n.startswith("tensorflow.")]:
        monkeypatch.delitem(sys.modules, name)  # what an earlier test imported
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(MissingDependency, match=r"tensorflow-cpu .*headtail\[export\]"):
        load_source(str(tmp_path))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved models")
    subprocess.run(
        [sys.executable, "-c", WRITER, folder],
        check=True,
        capture_output=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    return folder


@pytest.fixture(scope="module")
def bundle(models):
    path = models / "good.bundle"
    body = run("export", models / "good", "-o", path, "--precision", "fp32", "--runs", 2)
    return path, body


@pytest.mark.slow
def test_the_signature_says_what_it_takes_and_gives(models):
    source = load_source(str(models / "good"))
    assert isinstance(source, ForeignModel)
    assert [str(spec) for spec in source.inputs] == ["image:f32[1,32,32,3]"]
    assert [str(spec) for spec in source.outputs] == ["best:i32[1]", "scores:f32[1,5]"]
    assert (source.origin, source.preprocess.layout) == ("SavedModel good", "NHWC")
    assert "a SavedModel has no PyTorch program: no cuts, no tail" in source.remarks


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("unnamed", r"unnamed has the signatures .*other.*serving_default"),
        ("free", r"image is float32\[1, -1, 32, 3\].*fixed input size"),
        ("two", r"takes factor:.*, image:.*One photo of a known size"),
    ],
)
def test_a_signature_that_takes_no_photo_is_refused(models, name, words):
    with pytest.raises(SourceFault, match=words):
        load_source(str(models / name))


@pytest.mark.slow
def test_it_is_written_and_proven_in_two_formats(bundle):
    _, body = bundle
    assert {(a["format"], a["verdict"]) for a in body["artifacts"]} == {
        ("litert", "pass"),
        ("coreml", "pass"),
    }
    assert all(a["snr_db_min"] is None or a["snr_db_min"] >= 85 for a in body["artifacts"])
    assert (body["cuts"], body["failures"]) == ({}, [])


@pytest.mark.slow
def test_executorch_refuses_in_one_sentence(models, tmp_path):
    reason = (
        r"\(executorch fp32: ExecuTorch takes PyTorch programs, and a SavedModel holds none\.\)"
    )
    with pytest.raises(GateFailed, match=reason):
        run(
            "export", models / "good", "-o", tmp_path / "a.bundle",
            "--format", "executorch", "--precision", "fp32",
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_needs_a_torch_program_is_refused(models, tmp_path):
    with pytest.raises(UsageFault, match=r"cuts conv were asked for\..*no PyTorch program"):
        run("export", models / "good", "-o", tmp_path / "a.bundle", "--cut", "conv")
    with pytest.raises(UsageFault, match="This needs a PyTorch program"):
        load_module(str(models / "good"))
    with pytest.raises(UsageFault, match="This needs a PyTorch program"):
        run("check", models / "good")


@pytest.mark.slow
def test_the_bundle_runs_whole(bundle, tmp_path):
    path, body = bundle
    assert run("verify", path, "--runs", 1)["verified"]
    photo = tmp_path / "photo.png"
    Image.fromarray(np.arange(40 * 40 * 3, dtype=np.uint8).reshape(40, 40, 3)).save(photo)
    (result,) = run("run", path, photo)["results"]
    assert result["where"] == "local"
    assert [o["tensor"] for o in result["outputs"]] == ["best:i32[1]", "scores:f32[1,5]"]
    with pytest.raises(UsageFault, match=r"has no cuts\. A server continues a model from a cut"):
        run("run", path, photo, "--server", "http://127.0.0.1:9")
    assert body["bundle_id"] == open_bundle(path).manifest.bundle_id


@pytest.mark.slow
def test_what_needs_a_tail_says_so(bundle):
    path, _ = bundle
    with pytest.raises(UsageFault, match=r"has no tail\. A plan chooses .* export the model again"):
        run("plan", path, "--uplink-mbit", 10, "--rtt-ms", 20)
    with pytest.raises(UsageFault, match=r"holds no tail\. .*headtail check SOURCE --bisect"):
        run("verify", path, "--runs", 1, "--bisect", "--format", "executorch")


@pytest.mark.slow
def test_a_server_hands_the_bundle_out_and_runs_nothing_of_it(bundle):
    path, body = bundle
    picture = {"name": "image", "datatype": "FP32", "shape": [1, 32, 32, 3], "data": [0.5] * 3072}
    with serving(path) as served, httpx.Client(base_url=served.url) as client:
        assert client.get(f"/v2/bundles/{body['bundle_id']}").status_code == 200
        answer = client.post("/v2/models/good/infer", json={"inputs": [picture]})
        assert answer.status_code == 409
        assert "'good' was exported without a tail" in answer.json()["error"]

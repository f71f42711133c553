"""`headtail export` of a Keras model and of a text encoder, through the real converters."""

import json
import subprocess
import sys

import pytest

from headtail.bundle import open_bundle
from tests.exporters.sources.commands import run

pytestmark = pytest.mark.slow

KERAS = """
import os, sys
os.environ["KERAS_BACKEND"] = "torch"
import keras
from keras import layers
keras.utils.set_random_seed(0)
x = inputs = layers.Input((32, 32, 3))
x = layers.ReLU(name="early")(layers.Conv2D(8, 3, strides=4, padding="same")(x))
x = layers.GlobalAveragePooling2D()(layers.DepthwiseConv2D(3, padding="same")(x))
keras.Model(inputs, layers.Dense(5)(x)).save(sys.argv[1])
"""
BERT = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "hidden_size": 16,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "intermediate_size": 24,
    "vocab_size": 100,
    "max_position_embeddings": 16,
}


def test_a_keras_model_goes_to_executorch_with_a_tail(tmp_path):
    subprocess.run(
        [sys.executable, "-c", KERAS, tmp_path / "tiny.keras"], check=True, capture_output=True
    )
    path = tmp_path / "tiny.bundle"
    body = run(
        "export", f"keras:{tmp_path}/tiny.keras", "-o", path,
        "--format", "executorch", "--precision", "fp32", "--runs", 1,
    )  # fmt: skip
    (row,) = body["artifacts"]
    assert row["verdict"] == "pass"
    assert row["snr_db_min"] >= 90
    manifest = open_bundle(path).manifest
    assert [cut.id for cut in manifest.cuts] == ["early"]
    assert len(manifest.tails) == 1
    assert manifest.preprocess is not None
    assert manifest.preprocess.layout == "NHWC"


def test_a_text_encoder_goes_to_litert_and_core_ml_with_a_tail(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(BERT))
    path = tmp_path / "text.bundle"
    body = run(
        "export", f"hf:{tmp_path}", "--name", "text", "-o", path,
        "--format", "litert,coreml", "--precision", "fp32", "--runs", 1,
    )  # fmt: skip
    assert [row["verdict"] for row in body["artifacts"]] == ["pass", "pass"]
    assert any(remark.startswith("weights: random, seed 0") for remark in body["remarks"])
    manifest = open_bundle(path).manifest
    assert "weights: random, seed 0" in manifest.source
    assert [str(spec) for spec in manifest.inputs] == [
        "input_ids:i32[1,16]",
        "attention_mask:i32[1,16]",
    ]
    assert [spec.name for spec in manifest.outputs] == ["last_hidden_state", "pooler_output"]
    assert "model_embeddings" in {cut.id for cut in manifest.cuts}
    masks = manifest.cut("model_embeddings").per_channel[0]
    assert (set(masks.low), set(masks.high)) == ({0.0}, {1.0})

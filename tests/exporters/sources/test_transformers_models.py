"""Models of transformers from a folder with nothing but `config.json`: random weights, said so."""

import json

import numpy as np
import pytest
import torch

from exporters.source import SourceModel, load_source
from headtail.errors import EnvironmentFault, SourceFault

pytestmark = pytest.mark.slow  # importing transformers takes seconds

SMALL = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2}
BERT = {
    **SMALL,
    "model_type": "bert",
    "architectures": ["BertForSequenceClassification"],
    "intermediate_size": 48,
    "vocab_size": 300,
    "max_position_embeddings": 40,
}
VIT = {
    **SMALL,
    "model_type": "vit",
    "architectures": ["ViTForImageClassification"],
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}
DISTILBERT = {
    "model_type": "distilbert",
    "dim": 32,
    "n_heads": 4,
    "n_layers": 2,
    "hidden_dim": 48,
    "vocab_size": 300,
}


def folder_of(folder, config, **files):
    for name, content in {"config": config, **files}.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return f"hf:{folder}"


def load(source, **options):
    found = load_source(source, **options)
    assert isinstance(found, SourceModel)
    return found


def test_a_text_encoder_takes_tokens_and_a_mask(tmp_path):
    source = load(folder_of(tmp_path, BERT), name="tiny")
    assert source.name == "tiny"
    assert [(tuple(v.shape), v.dtype) for v in source.example] == [((1, 40), torch.int32)] * 2
    assert source.remarks == (
        f"weights: random, seed 0, because {tmp_path.name} holds none",
        "tokens: there is no tokenizer, so they are the UTF-8 bytes of the sentences",
    )
    assert "weights: random" in source.origin
    assert source.calibration is not None
    assert (source.calibration.provenance.count, source.evaluation.provenance.count) == (16, 10)
    with torch.no_grad():
        rows = [source.module(*map(torch.from_numpy, s)) for s in source.evaluation.samples]
    assert list(rows[0]) == ["logits"]
    answers = np.concatenate([row["logits"].numpy() for row in rows])
    assert np.isfinite(answers).all()
    assert answers.std(0).min() > 1e-3  # sentences are told apart


def test_padding_does_not_change_the_answer(tmp_path):
    short = load(folder_of(tmp_path, BERT) + "?length=24").example
    source = load(folder_of(tmp_path, BERT))
    ids, mask = source.example
    assert short[0].shape == (1, 24)
    other = torch.where(mask == 0, torch.full_like(ids, 9), ids)
    other[:, :1] = ids[:, :1]
    with torch.no_grad():
        right, seen = (source.module(i, mask)["logits"] for i in (ids, other))
    assert torch.equal(right, seen)


@pytest.mark.parametrize("config", [BERT, DISTILBERT], ids=["bert", "distilbert"])
def test_text_encoders_have_cuts_and_a_tail_for_any_batch(tmp_path, config):
    from exporters.captured import capture_source, tail_of

    source = load(folder_of(tmp_path, config))
    captured, remarks = capture_source(source, tmp_path)
    assert captured.cuts
    assert not remarks
    tail, remarks = tail_of(source, captured)
    assert not remarks
    assert not tail.one_sample


def test_a_vision_model_takes_photos_as_its_processor_says(tmp_path):
    plain = load(folder_of(tmp_path, VIT))
    assert plain.preprocess is not None
    assert (plain.preprocess.height, plain.preprocess.mean) == (32, (0.485, 0.456, 0.406))
    processor = {"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "resample": 2}
    source = load(folder_of(tmp_path, VIT, preprocessor_config=processor))
    assert source.preprocess is not None
    assert (source.preprocess.mean, source.preprocess.resize) == ((0.5,) * 3, "bilinear")
    assert list(source.module(*source.example)) == ["logits"]
    assert source.labels == ()  # the weights are random


def test_saved_weights_are_used_and_named(tmp_path):
    random = load(folder_of(tmp_path, VIT))
    random.module.model.save_pretrained(tmp_path)
    again = load(f"hf:{tmp_path}")
    assert again.origin.endswith("weights: pretrained, from the local cache")
    assert again.labels == ("LABEL_0", "LABEL_1")
    with torch.no_grad():
        right, seen = (m.module(*random.example)["logits"] for m in (random, again))
    assert torch.equal(right, seen)


def test_weights_that_a_folder_does_not_hold_cannot_be_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(EnvironmentFault, match=r"not in the local cache.*\?pretrained=0"):
        load(folder_of(tmp_path, VIT) + "?pretrained=1")


@pytest.mark.parametrize("config", [None, {"model_type": "nothing"}, {}], ids=["none", "odd", "no"])
def test_what_transformers_does_not_know_is_one_clear_error(tmp_path, monkeypatch, config):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if config is not None:
        folder_of(tmp_path, config)
    with pytest.raises(SourceFault, match="transformers has no configuration for"):
        load(f"hf:{tmp_path}")


def test_an_identity_of_the_hub_is_told_to_be_out_of_reach(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SourceFault, match=r"no configuration for 'nobody/nothing'.*offline"):
        load("hf:nobody/nothing")

"""Keras 3 models on the torch backend: files and factories."""

import numpy as np
import pytest
import torch

from exporters.captured import capture_source, tail_of
from exporters.source import SourceModel, load_source
from exporters.sources.keras_models import _keras
from headtail.errors import SourceFault

pytestmark = [
    pytest.mark.slow,  # importing keras takes seconds
    # Keras's own variables, when NumPy 2 asks them for an array
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def keras():
    return _keras()


def network(keras, shape=(32, 32, 3), nested=False):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    x = inputs = layers.Input(shape)
    for index, filters in enumerate((8, 16)):
        x = layers.Conv2D(filters, 3, strides=4, padding="same", name=f"conv{index}")(x)
        x = layers.BatchNormalization(name=f"norm{index}")(x)
        x = layers.ReLU(6.0, name=f"relu{index}")(x)
    if nested:
        x = keras.Model(inputs, x, name="backbone")(second := layers.Input(shape))
        inputs = second
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(5, name="scores")(x))


@pytest.fixture
def factory(keras, tmp_path, monkeypatch):
    def write(body):
        (tmp_path / "keras_factory_for_test.py").write_text(body)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(__import__("sys").modules, "keras_factory_for_test", raising=False)
        return "keras:keras_factory_for_test:make"

    return write


def load(source):
    found = load_source(source)
    assert isinstance(found, SourceModel)
    return found


@pytest.mark.parametrize("nested", [False, True])
def test_a_file_answers_as_keras_does_and_is_cut_at_its_layers(keras, tmp_path, nested):
    model = network(keras, nested=nested)
    model.save(tmp_path / "tiny.keras")
    source = load(f"keras:{tmp_path}/tiny.keras")
    assert source.name == "tiny"
    assert source.remarks == (
        "photos are scaled to 0..1: a Keras file does not say what its model expects",
    )
    assert source.preprocess is not None
    assert (source.preprocess.layout, source.example[0].shape) == ("NHWC", (1, 32, 32, 3))
    for (sample,) in source.evaluation.samples[:3]:
        right = model.predict(sample, verbose=0)
        with torch.no_grad():
            np.testing.assert_allclose(source.module(torch.from_numpy(sample)), right, atol=1e-5)
    captured, remarks = capture_source(source, tmp_path)
    assert [cut.id for cut in captured.cuts] == ["backbone_relu0" if nested else "relu0"]
    assert not remarks
    tail, _ = tail_of(source, captured)
    assert not tail.one_sample


def test_the_example_is_laid_out_as_its_shape_says(keras, tmp_path):
    """`array[None]` has a stride of 0, which ExecuTorch refuses."""
    network(keras).save(tmp_path / "tiny.keras")
    (example,) = load(f"keras:{tmp_path}/tiny.keras").example
    assert example.stride() == torch.empty(example.shape).stride()


TWO = """
import keras, numpy as np
def make():
    a, b = keras.Input((4,), name="a"), keras.Input((6,), name="b")
    x = keras.layers.Concatenate()([a, keras.layers.Dense(3)(b)])
    return keras.Model([a, b], keras.layers.Dense(2)(x)), (
        np.ones((1, 4), "float32"), np.arange(6, dtype="float32")[None])
"""


def test_a_factory_with_inputs_may_have_several(factory):
    source = load(factory(TWO))
    assert source.name == "make"
    assert [tuple(v.shape) for v in source.example] == [(1, 4), (1, 6)]
    assert source.module(*source.example).shape == (1, 2)
    assert "not known real" in source.evaluation.provenance.source


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("def made(): ...", "cannot be called"),
        ("def make(): raise ValueError('no weights')", "cannot be called: ValueError: no weights"),
        ("def make(:", "cannot be called: SyntaxError"),
        (TWO + "\nwhole = make\ndef make(): return whole()[0]", "takes .* or a factory"),
    ],
)
def test_a_factory_that_gives_no_model_is_one_clear_error(factory, body, words):
    with pytest.raises(SourceFault, match=words):
        load(factory(body))


def test_a_model_of_an_unknown_size_needs_inputs(keras, tmp_path):
    network(keras, (None, None, 3)).save(tmp_path / "free.keras")
    with pytest.raises(SourceFault, match=r"takes \(None, None, None, 3\)\. One photo of a known"):
        load(f"keras:{tmp_path}/free.keras")


def test_files_that_are_no_models_are_refused(tmp_path):
    with pytest.raises(SourceFault, match="There is no file"):
        load("keras:absent.keras")
    (tmp_path / "broken.keras").write_bytes(b"nothing")
    with pytest.raises(SourceFault, match="cannot be read"):
        load(f"keras:{tmp_path}/broken.keras")

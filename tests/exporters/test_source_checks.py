"""What a script may get wrong is told before anything is converted."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from exporters.pipeline import ExportOptions, export
from exporters.source import SourceModel, from_module, load_source
from headtail.errors import MissingDependency, SourceFault
from tests.exporters.nets import Residual, settle

IMAGE = torch.zeros(1, 3, 32, 32)
SCRIPT = """
import numpy as np, torch
from torch import nn
def get_model(): return nn.Conv2d(3, 4, 3).eval()
def get_args(): return (torch.zeros(1, 3, 8, 8),)
"""


def script(folder, text, name="net.py"):
    path = folder / name
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.zeros((1, 3, 32, 32)), r"inputs are float64\[1, 3, 32, 32\]"),
        (np.zeros((8, 3, 32, 32), np.float32), r"\[8, 3, 32, 32\].*batch 1"),
        ((np.zeros((1, 3, 32, 32), np.float32),) * 2, "float32.*, float32"),
    ],
)
@pytest.mark.parametrize("kind", ["evaluation", "calibration"])
def test_inputs_unlike_the_example_are_refused(kind, value, words):
    with pytest.raises(SourceFault, match=rf"{kind.capitalize()} inputs.*{words}|{words}"):
        from_module(settle(Residual()), (IMAGE,), **{kind: [value]})  # type: ignore[arg-type]  # either of two iterables


@pytest.mark.parametrize("labels", ["cat", [1, 2]])
def test_labels_are_strings(labels):
    with pytest.raises(SourceFault, match=r"labels are .*str\(label\)"):
        from_module(settle(Residual()), (IMAGE,), labels=labels)


@pytest.mark.parametrize("name", ["my model", "a/b", "..", "modèle"])
def test_a_name_that_is_no_file_name_is_refused_at_once(name):
    with pytest.raises(SourceFault, match="Artifacts are files of that name"):
        from_module(settle(Residual()), (IMAGE,), name=name)


def test_a_script_of_any_name_gives_a_plain_one(tmp_path):
    assert load_source(script(tmp_path, SCRIPT, "my net (v2).py")).name == "my_net_v2"


def test_what_is_no_module_is_refused(tmp_path):
    text = SCRIPT.replace("nn.Conv2d(3, 4, 3).eval()", "{'state': 1}")
    with pytest.raises(SourceFault, match="The model is a dict"):
        load_source(script(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def get_model(): raise ValueError('no weights')", r"get_model\(\) of .* fails: .*no wei"),
        (
            "def get_eval_batches():\n    yield from ()\n    raise OSError('unmounted')",
            r"get_eval_batches\(\) of .* fails: OSError: unmounted",
        ),
    ],
)
def test_a_function_that_fails_is_named(tmp_path, text, words):
    with pytest.raises(SourceFault, match=words):
        load_source(script(tmp_path, f"{SCRIPT}\n{text}\n"))


def test_our_own_errors_pass_through(tmp_path):
    text = """
from headtail.errors import MissingDependency
def get_model(): raise MissingDependency("weights", needed_for="this", install="pip install it")
"""
    with pytest.raises(MissingDependency, match="pip install it"):
        load_source(script(tmp_path, SCRIPT + text))


def test_a_script_may_import_what_lies_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "layers_beside_the_script.py").write_text("CHANNELS = 7\n")
    text = """
import layers_beside_the_script
def get_model(): return nn.Conv2d(3, layers_beside_the_script.CHANNELS, 3).eval()
"""
    source = load_source(script(tmp_path, SCRIPT + text))
    assert isinstance(source, SourceModel)
    assert source.module.out_channels == 7


def test_an_example_with_gradients_is_taken():
    source = from_module(nn.Conv2d(3, 4, 3).eval(), (torch.zeros(1, 3, 8, 8, requires_grad=True),))
    assert source.evaluation.provenance.count == 1


def test_labels_that_do_not_fit_the_output_are_refused_before_converting(tmp_path):
    source = from_module(settle(Residual()), (IMAGE,), labels=["a", "b"])
    with pytest.raises(SourceFault, match=r"2 labels and the first output is output:f32\[1,5\]"):
        export(source, ExportOptions(tmp_path / "a.bundle"))
    assert list(tmp_path.iterdir()) == []

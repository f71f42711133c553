"""Scripts, modules and factories become one checked `SourceModel`, or one clear error."""

import numpy as np
import pytest
import torch

from exporters.source import from_module, load_source
from headtail.errors import SourceFault, UsageFault
from headtail.preprocess import Preprocess
from tests.exporters.nets import Residual, settle

IMAGE = torch.zeros(1, 3, 32, 32)
PREPROCESS = Preprocess(
    32, 32, "RGB", "crop", 1.0, "bilinear", 1 / 255, (0.5,) * 3, (0.5,) * 3, "NCHW"
)
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


def test_a_script_with_model_and_args_is_enough(tmp_path):
    source = load_source(script(tmp_path, SCRIPT))
    assert (source.name, source.task, source.calibration) == ("net", "tensor", None)
    assert source.evaluation.provenance.count == 1
    assert "not known real" in source.evaluation.provenance.source


def test_everything_a_script_may_define_is_taken(tmp_path):
    more = """
def get_labels(): return ["a", "b"]
def get_calibration_data(): return (np.full((1, 3, 8, 8), i, np.float32) for i in range(3))
def get_eval_batches(): return [(torch.full((1, 3, 8, 8), 9.0),)]
"""
    source = load_source(script(tmp_path, SCRIPT + more), name="mine")
    assert (source.name, source.task, source.labels) == ("mine", "classification", ("a", "b"))
    assert source.calibration is not None
    assert source.calibration.provenance.count == 3
    assert float(source.evaluation.samples[0][0].max()) == 9.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def get_args(): ...", r"no function get_model\(\) \(it has: get_args\)"),
        (SCRIPT.replace("def get_args", "def got_args"), r"no function get_args\(\)"),
        ("raise RuntimeError('boom')", "fails when imported: RuntimeError: boom"),
        ("def (", "fails when imported: SyntaxError"),
        (SCRIPT.replace(".eval()", ""), "train mode"),
    ],
)
def test_a_broken_script_is_one_clear_error(tmp_path, text, words):
    with pytest.raises(SourceFault, match=words):
        load_source(script(tmp_path, text))


@pytest.mark.parametrize("source", ["nowhere.py", "no.such.module", "timm-resnet", "os:getcwd:x"])
def test_an_unknown_source_lists_the_kinds(source):
    with pytest.raises(SourceFault, match=r"A source is one of: path/to/file.py"):
        load_source(source)


def test_a_factory_returns_module_and_inputs(tmp_path, monkeypatch):
    text = SCRIPT + "def make(): return get_model(), get_args()\ndef other(): return 3\n"
    script(tmp_path, text, "factory_source_for_test.py")
    monkeypatch.syspath_prepend(tmp_path)
    assert load_source("factory_source_for_test:make").name == "make"
    with pytest.raises(SourceFault, match=r"returned a int.*module, example inputs"):
        load_source("factory_source_for_test:other")


def test_photos_go_through_the_declared_preprocessing():
    photo = np.full((40, 50, 3), 255, np.uint8)
    source = from_module(settle(Residual()), (IMAGE,), preprocess=PREPROCESS, evaluation=[photo])
    assert source.frames[0] is photo
    assert np.allclose(source.evaluation.samples[0][0].astype(np.float32), 1.0)


def test_photos_without_preprocessing_are_refused():
    with pytest.raises(SourceFault, match=r"get_preprocess\(\)"):
        from_module(settle(Residual()), (IMAGE,), evaluation=[np.zeros((4, 4, 3), np.uint8)])


def test_mixed_inputs_are_refused():
    mixed = [np.zeros((32, 32, 3), np.uint8), np.zeros((1, 3, 32, 32), np.float32)]
    with pytest.raises(SourceFault, match="1 of 2 inputs are photos"):
        from_module(settle(Residual()), (IMAGE,), preprocess=PREPROCESS, evaluation=mixed)


def test_calibration_and_evaluation_may_not_overlap():
    one, two = (np.full((1, 3, 32, 32), v, np.float32) for v in (1, 2))
    with pytest.raises(SourceFault, match="1 evaluation inputs are also calibration inputs"):
        from_module(settle(Residual()), (IMAGE,), calibration=[one, two], evaluation=[two])


def test_an_empty_evaluation_set_is_refused():
    with pytest.raises(UsageFault, match="is empty"):
        from_module(settle(Residual()), (IMAGE,), evaluation=[])

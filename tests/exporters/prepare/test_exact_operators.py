"""Operators that converters write wrong in silence or refuse, in forms that arrive."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from exporters.capture import capture, flat_graph
from exporters.prepare import prepare
from headtail.metrics import snr_db
from tests.exporters.prepare.rewriting import rewritten, targets

IMAGE = torch.randn(1, 4, 9, 11)


class Call(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def _resize(mode, **given):
    return Call(lambda x: functional.interpolate(x, mode=mode, **given))


SILENT = {
    "nearest to a size": _resize("nearest", size=(13, 15)),
    "nearest by half": _resize("nearest", scale_factor=0.5),
    "bilinear by a factor": _resize("bilinear", scale_factor=1.5),
    "a lopsided max pool": nn.MaxPool2d((3, 2), (2, 1), (1, 0)),
}
REFUSED = {
    "antialias": _resize("bilinear", size=(5, 7), antialias=True),
    "output padding": nn.ConvTranspose2d(4, 6, 3, 2, 1, 1),
    "output padding in groups": nn.ConvTranspose2d(4, 6, 3, 2, 1, (1, 0), groups=2),
    "output padding beyond": nn.ConvTranspose2d(4, 6, 2, 3, 0, 2, bias=False),
    "alpha": Call(lambda x: torch.add(x, x.flip(1), alpha=2.5)),
    "two axes": Call(lambda x: x.flip((1, 3))),
}


@pytest.mark.parametrize("name", [*SILENT, *REFUSED])
def test_litert_forms_compute_the_same(name):
    module = {**SILENT, **REFUSED}[name]
    _, sites = rewritten(module, (IMAGE,), "litert_exact")
    assert sites == 1


@pytest.mark.parametrize("length", [4, 5])
def test_a_same_convolution_of_lines_is_padded_first(length):
    module = nn.Conv1d(4, 6, length, padding="same", dilation=2)
    graph, sites = rewritten(module, (torch.randn(1, 4, 11),), "litert_exact")
    assert sites == 1
    assert targets(graph) == {"constant_pad_nd": 1, "convolution": 1}


@pytest.mark.parametrize(
    "module",
    [
        _resize("nearest", scale_factor=2),
        _resize("nearest", size=(18, 33)),
        _resize("bilinear", size=(13, 15), align_corners=True),
        _resize("bicubic", scale_factor=1.5),
        nn.MaxPool2d(3, 2, 1),
        nn.MaxPool2d((3, 2), (2, 1)),
        nn.ConvTranspose2d(4, 6, 4, 2, 1),
        Call(lambda x: x + x.flip(1)),
    ],
)
def test_litert_writes_the_others_itself(module):
    assert rewritten(module, (IMAGE,), "litert_exact")[1] == 0


@pytest.mark.parametrize(
    ("module", "sites"),
    [
        (SILENT["bilinear by a factor"], 1),
        (REFUSED["antialias"], 1),
        (_resize("bicubic", size=(5, 7)), 1),
        (_resize("bilinear", size=(13, 15)), 0),
        (SILENT["nearest to a size"], 0),
    ],
)
def test_executorch_resizes(module, sites):
    assert rewritten(module, (IMAGE,), "executorch_exact")[1] == sites


@pytest.mark.parametrize("divisor", [3, -4, 2.5])
def test_executorch_remainders_of_whole_numbers(divisor):
    module = Call(lambda x: torch.remainder(x, divisor))
    _, sites = rewritten(module, (torch.arange(-9, 9, dtype=torch.int32),), "executorch_exact")
    assert sites == isinstance(divisor, int)


def _litert(graph, path):
    import litert_torch
    from ai_edge_litert.interpreter import Interpreter

    litert_torch.signature("forward", graph, (IMAGE,)).convert().export(str(path))
    run = Interpreter(model_path=str(path), num_threads=1).get_signature_runner("forward")
    (name,) = run.get_input_details()
    return next(iter(run(**{name: IMAGE.numpy()}).values()))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # jax and numpy of each other
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ["nearest to a size", "a lopsided max pool", "alpha"])
def test_litert_files_are_wrong_without_and_right_with_the_forms(name, tmp_path):
    module = {**SILENT, **REFUSED}[name].eval()
    with torch.no_grad():
        expected = module(IMAGE).numpy()
    graph = flat_graph(capture(module, (IMAGE,)))
    if name in SILENT:
        plain = _litert(graph, tmp_path / "plain.tflite")
        assert plain.shape != expected.shape or snr_db(reference=expected, candidate=plain) < 20
    else:
        with pytest.raises(Exception, match=r"alpha|legalize"):
            _litert(graph, tmp_path / "plain.tflite")
    prepared = prepare(graph, (IMAGE,), "litert")
    given = _litert(prepared.graph, tmp_path / "prepared.tflite")
    assert snr_db(reference=expected, candidate=given) > 110

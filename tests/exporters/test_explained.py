"""A library's error with all that stands in the way, and without a diagnosis as it was."""

import pytest
import torch

from exporters.capture import capture, flat_graph, input_specs
from exporters.diagnosis import Finding
from exporters.explained import told_in_full
from exporters.processes import run_worker
from exporters.source import load_module
from exporters.worker import ConvertRequest
from headtail.errors import ConversionFailed
from quantizers.recipe import RECIPES

ERROR = ConversionFailed("RuntimeError: no erfinv", expected="It takes all.", remedy="Read on.")
FINDINGS = [
    Finding("litert", "aten.erfinv", "unsupported", "normal", "net.py:3", "unknown", "Use erf."),
    Finding("litert", "aten.fft_rfft", "unsupported", "", "", "", "Use erf."),
]


def test_every_operator_is_named_and_each_remedy_once():
    told = told_in_full(ERROR, "litert", lambda: FINDINGS)
    assert told.what == (
        "2 operators stand in the way of litert: aten.erfinv (normal, net.py:3): unknown; "
        "aten.fft_rfft: unsupported. The library stopped at: RuntimeError: no erfinv"
    )
    assert told.remedy == "Use erf."


def test_without_findings_the_error_stays(capfd):
    def broken():
        raise ValueError("lost")

    assert told_in_full(ERROR, "litert", list) is ERROR
    assert told_in_full(ERROR, "litert", broken) is ERROR
    assert "no diagnosis: ValueError: lost" in capfd.readouterr().err


@pytest.mark.slow
def test_a_broken_model_in_a_real_process(tmp_path):
    """The converter stops at max pooling; the error names what comes after it, too."""
    source = load_module("examples/broken/missing_operators.py")
    program = capture(source.module, source.example)
    torch.export.save(program, tmp_path / "program.pt2")
    request = ConvertRequest(
        "executorch",
        (RECIPES["fp32"],),
        (str(tmp_path / "net.pte"),),
        str(tmp_path / "program.pt2"),
        {},
        input_specs(flat_graph(program)),
        None,
        str(tmp_path / "scratch"),
    )
    _, failed = run_worker(request, tmp_path / "work")
    assert failed["event"] == "failed"
    assert "aten.adaptive_max_pool2d.default (pool, missing_operators.py" in failed["what"]
    assert "aten.erfinv.default (normal, missing_operators.py:26)" in failed["what"]
    assert "polynomial" in failed["remedy"]

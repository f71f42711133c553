"""The broken models of docs/diagnosis.md: what check and bisect say of them, by the real tools."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from exporters.capture import capture, flat_graph
from exporters.diagnosis import bisect, check, explain
from exporters.source import load_module

BROKEN = Path(__file__).parents[3] / "examples" / "broken"


def command(*arguments):
    """`headtail ... --json` in a process of its own: exit code and the object it ends with."""
    done = subprocess.run(
        [sys.executable, "-m", "headtail.cli", *arguments, "--json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=BROKEN.parents[1],
    )
    return done.returncode, json.loads(done.stdout)


@pytest.mark.slow
def test_data_dependent():
    code, said = command("check", str(BROKEN / "data_dependent.py"))
    assert code == 1
    assert [finding["place"] for finding in said["capture"]] == [
        "data_dependent.py:21",
        "data_dependent.py:23",
    ]
    assert said["targets"] == {}


def test_unknown_format_is_a_usage_fault():
    code, said = command("check", str(BROKEN / "data_dependent.py"), "--format", "onnx")
    assert code == 2
    assert "litert" in said["expected"]


@pytest.mark.slow
def test_missing_operators():
    source = load_module(str(BROKEN / "missing_operators.py"))
    report = check(source.module, source.example, ["executorch"])
    (target,) = report.targets
    blocking = {f.op: f for f in target.findings if f.blocking}
    assert set(blocking) == {"aten.adaptive_max_pool2d.default", "aten.erfinv.default"}
    assert blocking["aten.erfinv.default"].module == "normal"
    assert blocking["aten.erfinv.default"].place == "missing_operators.py:26"
    assert not report.good
    assert target.count("not delegated") > 0
    assert target.count("supported") > 0
    assert target.delegated == pytest.approx(1.0)
    graph = flat_graph(capture(source.module, source.example))
    assert {f.op for f in explain(graph, "executorch", source.example)} == set(blocking)


class Tiny(nn.Module):
    """What silent_cancellation.py has in its second block."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        blocks = load_module(str(BROKEN / "silent_cancellation.py")).module.blocks
        assert isinstance(blocks, nn.Sequential)
        self.centre = blocks[1].get_submodule("centre")
        assert self.conv.bias is not None
        nn.init.constant_(self.conv.bias, 20000.0)

    def forward(self, image):
        return self.centre(self.conv(self.stem(image)))


@pytest.mark.slow
def test_silent_fault_is_found_and_reproduced(tmp_path):
    torch.manual_seed(0)
    model, image = Tiny().eval(), torch.rand(1, 3, 16, 16)
    graph = flat_graph(capture(model, (image,)))
    found = bisect(graph, [[image.numpy()]], "executorch", destination=tmp_path / "repro")
    assert found.verdict == "disagrees"
    assert found.module == "centre"
    assert found.place.startswith("silent_cancellation.py:")
    assert found.alone is not None
    assert found.alone.good(found.gate_db)  # the subtraction is exact: its input was rounded
    assert found.reproduction is not None
    whole = next(probe for probe in found.probes if probe.name == "(the whole model)")
    done = subprocess.run(
        [sys.executable, str(found.reproduction / "repro.py")],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 1, done.stderr[-2000:]
    assert f"SNR {whole.snr_db:.1f} dB" in done.stdout

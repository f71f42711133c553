"""All lines that stand in the way of capturing, each with its place."""

import logging
from pathlib import Path

import pytest
import torch
from torch import nn

from exporters.diagnosis.capturing import capture_findings


class Branches(nn.Module):
    def forward(self, x):
        if x.sum() > 0:  # first
            x = x * 2
        return x[:, : int(x.argmax())]  # second


class Leaves(nn.Module):
    def forward(self, x):
        return torch.from_numpy(x.detach().numpy() * 2)


@pytest.fixture
def trace_log():
    log = logging.getLogger("torch.__trace")
    before = log.level
    yield log
    log.setLevel(before)


def line(text):
    lines = Path(__file__).read_text().splitlines()
    return 1 + next(i for i, each in enumerate(lines) if each.endswith(text))


@pytest.mark.parametrize("level", [logging.DEBUG, logging.WARNING])
def test_every_data_dependent_line(level, trace_log):
    """Also where a converter has turned torch's own trace down, as litert-torch's does."""
    trace_log.setLevel(level)
    found = capture_findings(Branches().eval(), (torch.randn(1, 4),), "")
    assert [f.place for f in found] == [
        f"test_capturing.py:{line(t)}" for t in ("# first", "# second")
    ]
    assert all(f.blocking and f.remedy and "`" in f.detail for f in found)
    assert trace_log.level == level


@pytest.mark.slow
# torch and litert-torch use interfaces that torch deprecates
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec:FutureWarning")
def test_every_data_dependent_line_after_an_export_in_the_same_process():
    litert_torch = pytest.importorskip("litert_torch")
    example = (torch.randn(1, 4),)
    litert_torch.convert(nn.Linear(4, 4).eval(), example)
    assert len(capture_findings(Branches().eval(), example, "")) == 2


def test_python_that_leaves_torch(capfd):
    (found,) = capture_findings(Leaves().eval(), (torch.randn(1, 4),), "")
    assert found.place == f"test_capturing.py:{line('.numpy() * 2)')}"
    assert "numpy" in found.detail
    assert capfd.readouterr() == ("", "")

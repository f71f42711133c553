"""All lines that stand in the way of capturing, each with its place."""

from pathlib import Path

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


def line(text):
    lines = Path(__file__).read_text().splitlines()
    return 1 + next(i for i, each in enumerate(lines) if each.endswith(text))


def test_every_data_dependent_line():
    found = capture_findings(Branches().eval(), (torch.randn(1, 4),), "")
    places = [finding.place for finding in found]
    assert places == [f"test_capturing.py:{line(t)}" for t in ("# first", "# second")]
    assert all(f.blocking and f.remedy and "`" in f.detail for f in found)


def test_python_that_leaves_torch(capfd):
    (found,) = capture_findings(Leaves().eval(), (torch.randn(1, 4),), "")
    assert found.place == f"test_capturing.py:{line('.numpy() * 2)')}"
    assert "numpy" in found.detail
    assert capfd.readouterr() == ("", "")

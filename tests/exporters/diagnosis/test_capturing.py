"""All lines that stand in the way of capturing, each with its place."""

import os
import subprocess
import sys
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


def line(text):
    lines = Path(__file__).read_text().splitlines()
    return 1 + next(i for i, each in enumerate(lines) if each.endswith(text))


PROBE = """
import torch
from tests.exporters.diagnosis.test_capturing import Branches
from exporters.diagnosis.capturing import capture_findings
for found in capture_findings(Branches().eval(), (torch.randn(1, 4),), ""):
    assert found.blocking and found.remedy and "`" in found.detail, found
    print(found.place)
"""


@pytest.mark.slow
def test_every_data_dependent_line():
    """In a process of its own, as `headtail check` is: after thousands of other tests in one
    process torch's draft export has told a place less, for a reason that is not known."""
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-W", "ignore", "-c", PROBE]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    places = [f"test_capturing.py:{line(t)}" for t in ("# first", "# second")]
    assert done.stdout.split() == places, done.stderr


def test_python_that_leaves_torch(capfd):
    (found,) = capture_findings(Leaves().eval(), (torch.randn(1, 4),), "")
    assert found.place == f"test_capturing.py:{line('.numpy() * 2)')}"
    assert "numpy" in found.detail
    assert capfd.readouterr() == ("", "")

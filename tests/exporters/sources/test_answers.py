"""Labels and slices of evaluation inputs: taken from scripts and calls, or refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from exporters.source import from_module, load_module
from headtail.errors import SourceFault
from tests.exporters.nets import Residual, settle

IMAGE = torch.zeros(1, 3, 32, 32)
JUDGED = [np.full((1, 3, 32, 32), value, np.float32) for value in (1, 2, 3)]
NAMES = ["a", "b", "c", "d", "e"]
SCRIPT = """
import numpy as np, torch
from torch import nn
def get_model(): return nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
def get_args(): return (torch.zeros(1, 4),)
def get_labels(): return ["cat", "dog"]
def get_eval_batches(): return (np.full((1, 4), i, np.float32) for i in range(3))
def get_eval_labels(): return (i % 2 for i in range(3))
def get_eval_slices(): return ["day", "night", "day"]
"""


def source_with(**more):
    return from_module(settle(Residual()), (IMAGE,), labels=NAMES, evaluation=JUDGED, **more)


def test_a_script_says_what_its_inputs_are(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(SCRIPT)
    source = load_module(str(path))
    assert source.eval_labels == (0, 1, 0)
    assert source.eval_slices == ("day", "night", "day")


def test_whoever_says_nothing_has_neither():
    assert (source_with().eval_labels, source_with().eval_slices) == ((), ())


@pytest.mark.parametrize(
    "labels",
    [[4, 0, 1], np.array([4, 0, 1], np.uint8), torch.tensor([4, 0, 1]), map(np.array, ([4], 0, 1))],
)
def test_integers_of_any_kind_are_labels(labels):
    assert source_with(eval_labels=labels).eval_labels == (4, 0, 1)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 1], "2 labels for 3 evaluation inputs.*get_eval_labels"),
        ([0, 1, 5], "reach from 0 to 5.*from 0 to 4"),
        ([0, -1, 2], "reach from -1 to 2"),
        ([0, 1.0, 2], "label 1 is '1.0'"),
        ([0, "b", 2], "label 1 is 'b'"),
        ([0, 1, [1, 2]], "label 2 is "),
        ([True, False, True], "label 0 is 'True'"),
    ],
)
def test_labels_that_cannot_be_are_refused(labels, words):
    with pytest.raises(SourceFault, match=words):
        source_with(eval_labels=labels)


def test_labels_need_the_classes_names():
    with pytest.raises(SourceFault, match=r"names: none.*get_labels\(\)"):
        from_module(settle(Residual()), (IMAGE,), evaluation=JUDGED, eval_labels=[0, 1, 2])


@pytest.mark.parametrize(
    ("slices", "words"),
    [
        (["day"], "1 slices for 3 evaluation inputs.*get_eval_slices"),
        ("day", "1 slices for 3"),
        (["day", "night", 3], "^3 is to name the slice"),
        (["day", "", "day"], "'' is to name"),
    ],
)
def test_slices_that_cannot_be_are_refused(slices, words):
    with pytest.raises(SourceFault, match=words):
        source_with(eval_slices=slices)

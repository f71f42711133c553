"""Hard sigmoid as a clipped scale and shift, which fold into the convolution before it."""

import torch
from torch import nn

from tests.exporters.prepare.rewriting import rewritten, targets


def test_it_becomes_a_clip_behind_the_convolution():
    gate = nn.Sequential(nn.Conv2d(4, 3, 1), nn.Hardsigmoid())
    rewrites = ("linear_hard_sigmoid", "fold_channel_scale")
    graph, sites = rewritten(gate, (torch.randn(1, 4, 5, 5) * 3,), *rewrites)
    assert sites == 2
    assert targets(graph) == {"conv2d": 1, "hardtanh": 1}


def test_it_clips_at_both_ends_of_a_value_that_no_weight_makes():
    graph, sites = rewritten(nn.Hardsigmoid(), (torch.linspace(-5, 5, 21),), "linear_hard_sigmoid")
    assert sites == 1
    assert targets(graph) == {"mul": 1, "add": 1, "hardtanh": 1}

"""Ranges that PyTorch's own run gives, and values that must not have one."""

import numpy as np
import pytest
import torch
from torch import nn

from exporters.capture import capture, flat_graph
from quantizers.activation_ranges import observed
from quantizers.recipe import RECIPES


class Masked(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.query, self.key = nn.Linear(8, 8), nn.Linear(8, 8)
        self.register_buffer("mask", torch.full((5, 5), value).triu(1))

    def forward(self, x):
        scores = self.query(x) @ self.key(x).transpose(1, 2)
        return (scores + self.mask).softmax(-1) @ x


@pytest.mark.parametrize("value", [-torch.inf, -1e4, torch.finfo(torch.float32).min])
def test_what_holds_a_mask_stays_float(value):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    samples = [(rng.normal(size=(1, 5, 8)).astype(np.float32),) for _ in range(4)]
    graph = flat_graph(capture(Masked(value).eval(), (torch.zeros(1, 5, 8),)))
    ranges = observed(graph, samples).ranges(method="minmax")
    assert not {"add", "mask"} & set(ranges)
    assert {"linear", "linear_1", "matmul", "softmax", "matmul_1", "x"} <= set(ranges)
    assert ranges["x"].high == max(sample[0].max() for sample in samples)
    assert ranges["softmax"].high <= 1.0


def test_sixteen_bits_reach_everything_and_eight_need_not(net, samples):
    graph = flat_graph(capture(net, (torch.zeros(1, 3, 32, 32),)))
    seen = observed(graph, samples)
    wide = seen.ranges_for(RECIPES["w8a16"], "mse")
    narrow = seen.ranges_for(RECIPES["w8a8"], "mse")
    assert wide == seen.ranges(method="minmax", bits=16)
    assert narrow == seen.ranges(method="mse")
    assert any(narrow[name].high < wide[name].high for name in wide)

"""Average pools that count their padding become depthwise convolutions."""

import pytest
import torch
from torch import nn

from tests.exporters.prepare.rewriting import rewritten, targets

IMAGE = torch.randn(1, 8, 9, 7)


@pytest.mark.parametrize(
    "pool",
    [nn.AvgPool2d(3, 2, 1), nn.AvgPool2d((3, 5), (2, 1), (0, 2)), nn.AvgPool2d(2, padding=1)],
)
def test_a_counted_border_is_a_convolution(pool):
    graph, sites = rewritten(pool, (IMAGE,), "padded_average_pool")
    assert sites == 1
    assert targets(graph) == {"conv2d": 1}


@pytest.mark.parametrize(
    "pool",
    [
        nn.AvgPool2d(2, 2),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nn.AvgPool2d(4, 3, 1, ceil_mode=True),
        nn.AvgPool2d(3, 2, 1, divisor_override=4),
    ],
)
def test_other_pools_stay(pool):
    graph, sites = rewritten(pool, (IMAGE,), "padded_average_pool")
    assert sites == 0
    assert targets(graph) == {"avg_pool2d": 1}


@pytest.mark.parametrize(
    ("pool", "kept"),
    [(nn.AvgPool2d(2, ceil_mode=True), 0), (nn.AvgPool2d(3, 2, ceil_mode=True), 1)],
    ids=["the strides divide the image", "the last window hangs over"],
)
def test_ceil_mode_goes_where_it_adds_no_output(pool, kept):
    graph, sites = rewritten(pool, (torch.randn(1, 3, 8, 8),), "padded_average_pool")
    assert sites == 1 - kept
    call = next(node for node in graph.graph.nodes if node.op == "call_function")
    assert bool(call.args[4]) == bool(kept)

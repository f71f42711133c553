"""Padding in words becomes numbers that say the same, so that quantization finds the weights."""

import pytest
import torch
from torch import nn

from quantizers.sites import sites
from tests.exporters.prepare.rewriting import rewritten, targets

IMAGE, SIGNAL = torch.randn(1, 8, 9, 7), torch.randn(1, 8, 11)


@pytest.mark.parametrize(
    ("module", "example", "padding"),
    [
        (nn.Conv2d(8, 6, 3, padding="same"), IMAGE, [1, 1]),
        (nn.Conv2d(8, 8, (5, 1), padding="same", groups=8, bias=False), IMAGE, [2, 0]),
        (nn.Conv2d(8, 6, (2, 3), padding="same", dilation=(2, 3)), IMAGE, [1, 3]),
        (nn.Conv2d(8, 6, 3, padding="valid", stride=2), IMAGE, [0, 0]),
        (nn.Conv1d(8, 6, 7, padding="same"), SIGNAL, [3]),
    ],
)
def test_the_numbers_stand_for_the_word(module, example, padding):
    graph, count = rewritten(module, (example,), "numeric_padding")
    assert count == 1
    (call,) = (node for node in graph.graph.nodes if node.op == "call_function")
    assert call.args[4] == padding
    assert [site.nodes for site in sites(graph)] == [(call.name,)]


def test_defaults_that_the_call_leaves_out():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(6, 8, 3, 3))

        def forward(self, x):
            return torch.ops.aten.conv2d.padding(x, self.weight)

    graph, count = rewritten(Plain(), (IMAGE,), "numeric_padding")
    assert count == 1
    assert len(sites(graph)) == 1


# torch says of every such kernel that it copies its input
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_a_kernel_that_wants_more_zeros_at_one_end_keeps_the_word():
    graph, count = rewritten(nn.Conv2d(8, 6, (3, 4), padding="same"), (IMAGE,), "numeric_padding")
    assert count == 0
    assert targets(graph) == {"conv2d": 1}
    assert sites(graph) == []

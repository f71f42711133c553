"""Parallel convolutions that are added become one, where one is no more work."""

from functools import reduce

import pytest
import torch
from torch import nn

from exporters.capture import flat_graph
from quantizers.sites import module_of
from tests.exporters.prepare.rewriting import rewritten, targets

IMAGE = torch.randn(1, 8, 9, 7)


class Added(nn.Module):
    """The sum of what the branches give for the same input."""

    def __init__(self, *branches):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        return reduce(torch.add, [branch(x) for branch in self.branches])


class Mixer(nn.Module):
    """FastViT's token mixer: x + scale * (mixer(x) - norm(x))."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(8, 1, 1))
        self.large = nn.Conv2d(8, 8, 5, padding=2, groups=8)
        self.small = nn.Conv2d(8, 8, 1, groups=8, bias=False)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x):
        return x + self.scale * (self.large(x) + self.small(x) + x - self.norm(x))


class Read(nn.Module):
    """A branch is also an output."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 1)

    def forward(self, x):
        y = self.conv(x)
        return x + y, y


@pytest.mark.parametrize(
    "module",
    [
        Added(nn.Conv2d(8, 6, 3, padding=1), nn.Conv2d(8, 6, 1, bias=False)),
        Added(nn.Conv2d(8, 6, 3, padding=1, stride=2), nn.Conv2d(8, 6, 1, stride=2)),
        Added(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Identity()),
        Added(nn.Identity(), nn.Conv2d(8, 8, 1, groups=2)),
        Added(nn.Conv2d(8, 8, (1, 5), padding=(0, 2)), nn.Conv2d(8, 8, (1, 3), padding=(0, 1))),
        Added(nn.Conv2d(8, 8, 3, padding=2, dilation=2), nn.Conv2d(8, 8, 1)),
        Added(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1, groups=8)),
        Added(nn.Conv2d(8, 8, 1, groups=2), nn.Conv2d(8, 8, 1, groups=4)),
    ],
)
def test_one_convolution_is_left(module):
    graph, sites = rewritten(module, (IMAGE,), "fuse_branches")
    assert sites
    assert targets(graph) == {"conv2d": 1}


def test_differences_scales_and_residuals_of_a_mixer():
    graph, sites = rewritten(Mixer(), (IMAGE,), "fold_batch_norm", "fuse_branches")
    assert sites == 5  # two sums, a difference, a scale, a residual
    assert targets(graph) == {"conv2d": 1}


@pytest.mark.parametrize(
    "module",
    [
        Added(nn.Conv2d(8, 8, (1, 5), padding=(0, 2)), nn.Conv2d(8, 8, (5, 1), padding=(2, 0))),
        Added(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 8, 1)),
        Added(nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=2, dilation=2)),
        Added(nn.Conv2d(8, 8, 1, stride=2), nn.Conv2d(8, 1, 1, stride=2)),
        Added(nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU()), nn.Identity()),
        Added(nn.Conv2d(8, 1, 1), nn.Identity()),  # broadcast over the channels
        Read(),
    ],
)
def test_what_would_be_more_work_or_another_value_stays(module):
    graph, sites = rewritten(module, (IMAGE,), "fuse_branches")
    assert sites == 0
    assert targets(graph)["add"] >= 1


class Beside(nn.Module):
    """Convolutions added by the network itself, which has no path that a rule could name."""

    def __init__(self, names):
        super().__init__()
        self.left, self.right = names
        self.parts = nn.ModuleDict({"a": nn.Sequential(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1))})
        self.parts["b"] = nn.Sequential(nn.Identity(), nn.Conv2d(8, 8, 3, padding=1))
        self.other = nn.Conv2d(8, 8, 1)

    def forward(self, x):
        x = x.relu()
        return self.get_submodule(self.left)(x) + self.get_submodule(self.right)(x)


@pytest.mark.parametrize(
    ("names", "path"),
    [
        (("parts.b.1", "parts.a.1"), "parts"),  # a container, which is never called itself
        (("parts.a.0", "parts.a.1"), "parts.a"),
        (("other", "parts.a.0"), "other"),  # nothing in common: that of the first
    ],
)
def test_what_was_merged_has_the_path_that_its_parts_share(names, path):
    graph, sites = rewritten(Beside(names), (IMAGE,), "fuse_branches")
    assert sites == 1
    with torch.no_grad():
        traced = flat_graph(torch.export.export(graph, (IMAGE,)))
    for found in (graph, traced):  # a rewritten graph is traced again before it is quantized
        (call,) = (node for node in found.graph.nodes if "conv2d" in str(node.target))
        assert module_of(call) == path

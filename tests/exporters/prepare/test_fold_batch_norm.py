"""Batch norms go into the weights beside them, exactly, or become a depthwise convolution."""

import pytest
import torch
from torch import nn

from tests.exporters.prepare.rewriting import rewritten, targets

IMAGE = torch.randn(1, 8, 9, 7)


def norm(channels, kind=nn.BatchNorm2d, **options):
    """A batch norm that does something."""
    made = kind(channels, **options)
    made.running_mean.uniform_(-1, 1)
    made.running_var.uniform_(0.5, 2)
    return made


class AfterLinear(nn.Module):
    """As in LeViT: the tokens of all images are normalised as one batch."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 12, bias=False)
        self.norm = norm(12, nn.BatchNorm1d)

    def forward(self, x):
        x = self.linear(x)
        return self.norm(x.flatten(0, 1)).reshape_as(x)


class BeforeSeveral(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = norm(8)
        self.narrow = nn.Conv2d(8, 4, 1)
        self.grouped = nn.Conv2d(8, 4, 3, groups=2, bias=False)

    def forward(self, x):
        x = self.norm(x)
        return self.narrow(x), self.grouped(x)


class Residual(nn.Module):
    """Something else reads the convolution."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 1)
        self.norm = norm(8)

    def forward(self, x):
        x = self.conv(x)
        return x + self.norm(x)


class WritesInPlace(nn.Module):
    """Made functional when captured, which spells batch norms another way."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(8, 4, 3), norm(4), nn.ReLU(inplace=True), norm(4))

    def forward(self, x):
        return self.body(x)


@pytest.mark.parametrize(
    ("module", "example"),
    [
        (nn.Sequential(nn.Conv2d(8, 6, 3, padding=1, groups=2), norm(6)), IMAGE),
        (nn.Sequential(nn.Conv2d(8, 6, 3, bias=False), norm(6, affine=False)), IMAGE),
        (nn.Sequential(nn.Conv1d(8, 6, 3), norm(6, nn.BatchNorm1d)), IMAGE[..., 0]),
        (nn.Sequential(nn.ConvTranspose2d(8, 6, 3, stride=2, groups=2), norm(6)), IMAGE),
        (nn.Sequential(nn.Linear(8, 6), norm(6, nn.BatchNorm1d)), torch.randn(1, 8)),
        (nn.Sequential(norm(8, nn.BatchNorm1d), nn.Linear(8, 6, bias=False)), torch.randn(1, 8)),
        (AfterLinear(), torch.randn(1, 5, 6)),
        (BeforeSeveral(), IMAGE),
    ],
)
def test_nothing_is_left_of_the_norm(module, example):
    graph, sites = rewritten(module, (example,), "fold_batch_norm")
    assert sites == 1
    assert not set(targets(graph)) & {"batch_norm", "mul", "add"}
    assert targets(graph)["conv2d"] <= 2


@pytest.mark.parametrize(
    ("module", "convolutions"),
    [
        (nn.Sequential(norm(8), nn.Conv2d(8, 4, 3, padding=1)), 2),  # the border is not shifted
        (Residual(), 2),
        (nn.Sequential(nn.ReLU(), norm(8)), 1),
    ],
)
def test_a_norm_that_fits_nowhere_is_a_depthwise_convolution(module, convolutions):
    graph, sites = rewritten(module, (IMAGE,), "fold_batch_norm")
    assert sites == 1
    assert targets(graph)["conv2d"] == convolutions
    assert not targets(graph)["batch_norm"]


def test_norms_of_a_model_that_writes_in_place():
    graph, sites = rewritten(WritesInPlace(), (IMAGE,), "fold_batch_norm")
    assert sites == 2
    assert targets(graph) == {"conv2d": 2, "relu": 1}


def test_a_lone_norm_of_tokens_is_multiplied_and_added():
    graph, sites = rewritten(norm(8, nn.BatchNorm1d), (torch.randn(1, 8, 5),), "fold_batch_norm")
    assert sites == 1
    assert targets(graph) == {"mul": 1, "add": 1}


def test_norms_with_the_statistics_of_their_input_stay():
    module = nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8, track_running_stats=False))
    graph, sites = rewritten(module, (IMAGE,), "fold_batch_norm")
    assert not sites
    assert "conv2d" in targets(graph)

"""A scale or shift per channel goes into the projection before it."""

import pytest
import torch
from torch import nn

from tests.exporters.prepare.rewriting import rewritten, targets

IMAGE, TOKENS = torch.randn(1, 8, 9, 7), torch.randn(1, 5, 8)


class Scaled(nn.Module):
    def __init__(self, projection, function, *shape):
        super().__init__()
        self.projection, self.function = projection, function
        self.gamma = nn.Parameter(torch.ones(shape))

    def forward(self, x):
        return self.function(self.projection(x), self.gamma)


@pytest.mark.parametrize(
    ("module", "example"),
    [
        (Scaled(nn.Conv2d(8, 6, 3), lambda x, g: x * g, 6, 1, 1), IMAGE),
        (Scaled(nn.Conv2d(8, 6, 3, bias=False), lambda x, g: g - x, 1, 6, 1, 1), IMAGE),
        (Scaled(nn.ConvTranspose2d(8, 6, 3, groups=2), lambda x, g: x / g, 6, 1, 1), IMAGE),
        (Scaled(nn.Linear(8, 6), lambda x, g: torch.sub(x, g, alpha=2), 6), TOKENS),
        (Scaled(nn.Linear(8, 6), lambda x, g: torch.add(g, x, alpha=3), 6), TOKENS),
        (Scaled(nn.Linear(8, 6), lambda x, g: x * 0.25 + 3, 1), TOKENS),
        (Scaled(nn.Conv2d(8, 6, 1), lambda x, g: x.flatten(2) * g, 6, 1), IMAGE),
        (Scaled(nn.Linear(8, 6), lambda x, g: x.view(5, 6) * g, 6), TOKENS),
    ],
)
def test_the_scale_is_in_the_weights(module, example):
    graph, sites = rewritten(module, (example,), "fold_channel_scale")
    assert sites
    assert not set(targets(graph)) & {"mul", "div", "add", "sub"}


@pytest.mark.parametrize(
    ("module", "example"),
    [
        (Scaled(nn.Conv2d(8, 6, 1), lambda x, g: x * g, 7), IMAGE),  # per column
        (Scaled(nn.Conv2d(8, 6, 1), lambda x, g: g / x, 6, 1, 1), IMAGE),
        (Scaled(nn.Conv2d(8, 6, 1), lambda x, g: x.relu() * g, 6, 1, 1), IMAGE),
        (Scaled(nn.Conv2d(8, 6, 1), lambda x, g: (x * g, x), 6, 1, 1), IMAGE),
        (Scaled(nn.Linear(8, 6), lambda x, g: x * g, 5, 1), TOKENS),  # per token
        (Scaled(nn.Linear(8, 6), lambda x, g: x.view(1, 5, 2, 3) * g, 2, 3), TOKENS),
        (Scaled(nn.Conv2d(8, 1, 1), lambda x, g: x * g, 6, 1, 1), IMAGE),  # broadcasts
    ],
)
def test_what_is_not_per_output_channel_stays(module, example):
    graph, sites = rewritten(module, (example,), "fold_channel_scale")
    assert sites == 0
    assert set(targets(graph)) & {"mul", "div"}

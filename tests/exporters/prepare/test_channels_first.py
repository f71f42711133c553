"""Channels-last stretches between convolutions become channels-first ones, or stay."""

import pytest
import torch
from torch import nn

from tests.exporters.prepare.rewriting import rewritten, targets

IMAGE = (1, 6, 5, 4)


class Block(nn.Module):
    """A convolution, channels-last arithmetic, and a convolution."""

    def __init__(self, function, *modules):
        super().__init__()
        self.before, self.after = nn.Conv2d(6, 6, 1), nn.Conv2d(6, 6, 1)
        self.function, self.rest = function, nn.ModuleList(modules)

    def forward(self, x):
        last = self.function(self.before(x).permute(0, 2, 3, 1), *self.rest)
        return self.after(last.permute(0, 3, 1, 2)) if last.ndim == 4 else last


SCALE = torch.arange(6.0)


@pytest.mark.parametrize(
    ("function", "modules"),
    [
        (
            lambda y, a, b: b(nn.functional.gelu(a(y))),
            [nn.Linear(6, 8), nn.Linear(8, 6, bias=False)],
        ),
        (lambda y, n: n(y), [nn.LayerNorm(6)]),
        (lambda y: y * SCALE + 0.5, []),
        (lambda y: torch.cat([y[..., 2:], y[..., :2]], dim=-1), []),
        (lambda y: y[:, 1:] * y[:, :1], []),
        (lambda y, a: a(y) * y + y, [nn.Linear(6, 6)]),
        (lambda y, a: a(y).mean((1, 2)), [nn.Linear(6, 6)]),
    ],
)
def test_a_stretch_between_convolutions(function, modules):
    graph, sites = rewritten(
        Block(function, *modules), (torch.randn(*IMAGE),), "expand_layer_norm", "channels_first"
    )
    assert sites == 1
    assert not set(targets(graph)) & {"permute", "linear"}


@pytest.mark.parametrize(
    ("function", "modules"),
    [
        (lambda y, a: a(y).reshape(1, 20, 6), [nn.Linear(6, 6)]),  # tokens from here on
        (lambda y, a: a(y).transpose(1, 2), [nn.Linear(6, 6)]),
        (lambda y: y.softmax(-1), []),
    ],
)
def test_a_stretch_with_other_ends_stays(function, modules):
    module = Block(function, *modules)
    assert rewritten(module, (torch.randn(*IMAGE),), "channels_first")[1] == 0


class Residual(Block):
    """The permuted input is read by a stretch and, permuted back, by the sum after it."""

    def forward(self, x):
        first = self.before(x)
        return self.after(first + self.function(first.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


def test_a_residual_block():
    module = Residual(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6)))
    graph, sites = rewritten(module, (torch.randn(*IMAGE),), "channels_first")
    assert sites == 1
    assert targets(graph) == {"conv2d": 4, "relu": 1, "add": 1}

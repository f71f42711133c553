"""Which channels may be scaled: any factors for those leave the outputs as they are."""

from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody reads at once
from torch import nn

from exporters.prepare.channel_ties import tied_channels
from exporters.prepare.equalize import equalized_weights
from tests.exporters.prepare.channels import Inverted, Transformer, agreement, flat

IMAGE, TOKENS = torch.randn(1, 3, 24, 24), torch.randn(1, 5, 8)


class Around(nn.Module):
    """A function between two layers, and a second input of it."""

    def __init__(self, function, width=8, *, before=None, after=None):
        super().__init__()
        self.before = before or nn.Conv2d(3, 8, 3, padding=1)
        self.after = after or nn.Conv2d(width, 4, 3, padding=1)
        self.function = function

    def forward(self, x):
        return self.after(self.function(self.before(x)))


class Gated(nn.Module):
    """Squeeze and excitation."""

    def __init__(self):
        super().__init__()
        self.conv, self.gate, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x):
        x = self.conv(x).relu()
        return self.last(x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid())


def shuffled(x):
    return x.view(1, 2, 4, 24, 24).transpose(1, 2).reshape(1, 8, 24, 24)


def randomly_scaled(graph):
    """Every class by a factor of its own; how many there are."""
    channels = tied_channels(graph)
    logs = torch.randn(channels.classes + 1, dtype=torch.double)
    return equalized_weights(graph, channels, logs), channels.classes


def around(function, **kwargs):
    return partial(Around, function, **kwargs)


SCALED = {
    "relu": (around(F.relu), IMAGE, 8),
    "leaky": (around(F.leaky_relu), IMAGE, 8),
    "pools": (around(lambda x: F.avg_pool2d(F.max_pool2d(x, 3, 1, 1), 2, padding=1)), IMAGE, 8),
    "resized": (around(lambda x: F.interpolate(x, scale_factor=2.0)), IMAGE, 8),
    "padded": (around(lambda x: F.pad(x, (1, 0, 2, 1))), IMAGE, 8),
    "depthwise": (
        around(lambda x: x, width=8, after=nn.Conv2d(8, 16, 3, groups=8)), IMAGE, 8,
    ),
    "grouped": (around(lambda x: x, after=nn.Conv2d(8, 6, 3, groups=2)), IMAGE, 8),
    "halves joined": (
        around(lambda x: torch.cat([x, x[:, :4].relu()], 1), width=12), IMAGE, 8,
    ),
    "shuffled": (around(shuffled), IMAGE, 8),
    "halves added": (around(lambda x: x[:, :4] - x[:, 4:], width=4), IMAGE, 4),
    "scaled by hand": (around(lambda x: x * torch.arange(1.0, 9.0)[:, None, None] / 3), IMAGE, 8),
    "gated": (Gated, IMAGE, 8),
    "normed": (
        around(F.relu, before=nn.LayerNorm(8), after=nn.Linear(8, 3)), TOKENS, 8,
    ),
    "residuals": (partial(Inverted, F.relu), IMAGE, 16 + 4 * 48),
    "linear bottlenecks": (partial(Inverted, F.relu6), IMAGE, 16),
    # norms; per head queries tied to keys, and values
    "attention": (Transformer, IMAGE, 2 * (32 + 32 + 32 + 32)),
    "attention spelled out": (partial(Transformer, spelled=True), IMAGE, 2 * (32 + 32 + 32 + 32)),
}  # fmt: skip


@pytest.mark.parametrize("name", SCALED)
def test_any_factors_leave_the_outputs_as_they_are(name):
    torch.manual_seed(0)
    make, example, classes = SCALED[name]
    graph = flat(make(), example)
    scaled, found = randomly_scaled(graph)
    assert found == classes
    assert agreement(graph, scaled, torch.randn_like(example)) > 110
    assert [node.name for node in scaled.graph.nodes] == [node.name for node in graph.graph.nodes]


class Shared(nn.Module):
    """One weight used twice."""

    def __init__(self):
        super().__init__()
        self.linear, self.last = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.last(self.linear(self.linear(x)))


class Seen(nn.Module):
    """What lies between the layers is an output too."""

    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x):
        x = self.conv(x)
        return self.last(x), x


@pytest.mark.parametrize(
    ("make", "example"),
    [
        (around(F.relu6), IMAGE),
        (around(F.hardswish), IMAGE),
        (around(F.gelu), IMAGE),
        (around(lambda x: x + 1), IMAGE),
        (around(lambda x: F.pad(x, (1, 1), value=1.0)), IMAGE),
        (around(lambda x: x.softmax(1)), IMAGE),
        (around(lambda x: 1 / (x.abs() + 1)), IMAGE),
        (Shared, TOKENS),
        (Seen, IMAGE),
    ],
)
def test_what_no_factor_passes_has_no_classes(make, example):
    assert tied_channels(flat(make(), example)).classes == 0


def test_values_that_are_kept_have_no_factors():
    graph = flat(Inverted(F.relu), IMAGE)
    free = tied_channels(graph)
    (value,) = (n for n in graph.graph.nodes if "relu" in n.name and n.args[0].name == "conv2d_1")
    kept = tied_channels(graph, [value.name])
    assert free.classes - kept.classes == 48
    assert not kept.of[value].any()


def test_weights_that_are_not_tied_right_are_noticed():
    """The proof can fail: one layer left out changes the outputs."""
    graph = flat(Around(F.relu), IMAGE)
    channels = replace(tied_channels(graph), read={})
    scaled = equalized_weights(graph, channels, torch.ones(channels.classes + 1).double())
    assert agreement(graph, scaled, IMAGE) < 20

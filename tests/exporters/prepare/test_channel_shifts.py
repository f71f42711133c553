"""Which channels may be shifted: any numbers for those leave the outputs as they are."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody reads at once
from torch import nn

from exporters.prepare.absorb_bias import shifted_program
from exporters.prepare.channel_shifts import shiftable, shifts_of
from tests.exporters.prepare.channels import Attention, Inverted, Transformer, agreement, flat
from tests.exporters.prepare.test_channel_ties import Around, Seen, Shared, around, shuffled

IMAGE, TOKENS = torch.randn(1, 3, 24, 24), torch.randn(1, 5, 8)
POINTWISE = {"after": nn.Conv2d(8, 4, 1)}


class Masked(Attention):
    """Scores may be forbidden, even all of a query's."""

    def forward(self, x):
        query, key, value = self.qkv(x).reshape(1, 5, 3, 2, -1).permute(2, 0, 3, 1, 4)
        mask = torch.ones(5, 5, dtype=torch.bool).tril(-1)
        x = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.project(x.transpose(1, 2).reshape(1, 5, -1))


def randomly_shifted(graph):
    """Every channel that may be by a number of its own; how many those are."""
    generator = torch.Generator().manual_seed(1)
    free = shiftable(graph)
    given = {
        node: torch.randn(len(movable), dtype=torch.double, generator=generator) * movable
        for node, movable in free.channels.items()
    }
    count = sum(int(movable.sum()) for movable in free.channels.values())
    return shifted_program(graph, given, shifts_of(graph, given)), count


SHIFTED = {
    "pointwise": (around(lambda x: x, **POINTWISE), IMAGE, 8),
    "strided, without a bias": (
        around(lambda x: x, after=nn.Conv2d(8, 4, 3, stride=2, bias=False)), IMAGE, 8,
    ),
    "depthwise": (around(lambda x: x, after=nn.Conv2d(8, 16, 3, groups=8)), IMAGE, 8),
    "pools": (
        around(lambda x: F.avg_pool2d(F.max_pool2d(x, 3, 1, 1), 2), **POINTWISE), IMAGE, 8,
    ),
    "resized": (around(lambda x: F.interpolate(x, scale_factor=2.0), **POINTWISE), IMAGE, 8),
    "shuffled": (around(shuffled, **POINTWISE), IMAGE, 8),
    "subtracted": (
        around(lambda x: x[:, :4] - 2 * x[:, 4:] + 1, after=nn.Conv2d(4, 4, 1)), IMAGE, 8,
    ),
    "normed": (
        around(lambda x: x, before=nn.LayerNorm(8), after=nn.Linear(8, 3)), TOKENS, 8,
    ),
    "linear bottlenecks": (partial(Inverted, F.relu6), IMAGE, 16 + 2 * 16),
    # norms; keys and values, not queries; the last layer before the mean over places
    "attention": (Transformer, IMAGE, 2 * (32 + 64 + 32) + 32),
    "attention spelled out": (partial(Transformer, spelled=True), IMAGE, 2 * (32 + 32 + 32) + 32),
}  # fmt: skip


@pytest.mark.parametrize("name", SHIFTED)
def test_any_shifts_leave_the_outputs_as_they_are(name):
    torch.manual_seed(0)
    make, example, count = SHIFTED[name]
    graph = flat(make(), example)
    shifted, found = randomly_shifted(graph)
    assert found == count
    assert agreement(graph, shifted, torch.randn_like(example)) > 105
    kept = {node.name for node in graph.graph.nodes}
    assert kept <= {node.name for node in shifted.graph.nodes}


@pytest.mark.parametrize(
    ("make", "example"),
    [
        (around(lambda x: x), IMAGE),  # the layer behind it pads with zeros
        (around(lambda x: F.pad(x, (1, 1, 1, 1)), **POINTWISE), IMAGE),
        (around(lambda x: F.avg_pool2d(x, 3, 1, 1), **POINTWISE), IMAGE),
        (around(lambda x: torch.cat([x[..., :4], x[..., 4:].relu()], 3), **POINTWISE), IMAGE),
        (around(F.relu6, **POINTWISE), IMAGE),
        (around(lambda x: x * x.mean((2, 3), keepdim=True), **POINTWISE), IMAGE),
        (Shared, TOKENS),
        (Seen, IMAGE),
        (partial(Masked, 8), TOKENS),
    ],
)
def test_what_bears_no_shift_gets_none(make, example):
    free = shiftable(flat(make(), example))
    assert not any(bool(movable.any()) for movable in free.channels.values())


def test_what_a_relu_reads_is_marked():
    graph = flat(Around(F.relu, **POINTWISE), IMAGE)
    free = shiftable(graph)
    (marked,) = free.rectified
    assert free.channels[marked].all()
    behind_a_sum = flat(
        Around(lambda x: (x + x.mean((2, 3), keepdim=True)).relu(), **POINTWISE), IMAGE
    )
    assert not any(bool(one.any()) for one in shiftable(behind_a_sum).channels.values())


def test_values_that_are_kept_bear_none():
    graph = flat(Around(lambda x: F.max_pool2d(x, 2), **POINTWISE), IMAGE)
    assert shiftable(graph).channels
    free = shiftable(graph, ["max_pool2d"])
    assert not any(bool(movable.any()) for movable in free.channels.values())

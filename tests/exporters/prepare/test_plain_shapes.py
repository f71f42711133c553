"""Rearrangements become reshape, permute, slice and cat, and views that meet become one."""

import pytest
import torch
from torch import nn

from tests.exporters.prepare.rewriting import rewritten, targets

PLAIN = {"pad", "reshape", "permute", "slice", "cat", "mul", "add"}


class Rearranged(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.flatten(1, 2),
        lambda x: x.unsqueeze(1).squeeze(1) * 2,
        lambda x: x.transpose(-1, -2) * 2,
        lambda x: x.mT * 2,
        lambda x: x.select(2, -1) * 2,
        lambda x: x[:, 3] * 2,
        lambda x: x.unbind(1)[2] * 2,
        lambda x: torch.cat(x.chunk(3, dim=-1)[::-1], dim=1),
        lambda x: torch.cat(x.split([2, 4], dim=3)[::-1], dim=3),
        lambda x: x.split(4, dim=-1)[1] * 2,
        lambda x: torch.roll(x, (-3, 2), (1, 2)) * 2,
        lambda x: x[:, ::2, ::2, 1::3] * 2,
        lambda x: x[:, :-1:2, 1:-1:3] * 2,
        lambda x: torch.roll(x, 5, 1) * 2,
        lambda x: nn.functional.pad(x, (0, 0, 0, 0)) * 2,
        lambda x: x * x[:, :, :1].expand_as(x),
        lambda x: x.view(1, 4, 10, 3).permute(0, 2, 1, 3).permute(0, 2, 3, 1) * 2,
    ],
)
def test_the_same_values_in_plain_calls(function):
    graph, sites = rewritten(Rearranged(function), (torch.randn(1, 4, 5, 6),), "plain_shapes")
    assert sites
    assert set(targets(graph)) <= PLAIN


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.roll(x, 3) * 2,  # rolls the flattened tensor
        lambda x: nn.functional.pad(x, (1, 0)) * 2,
        lambda x: x[:, :1].expand(1, 4, 5, 6) @ x.transpose(2, 3).contiguous(),  # needs the shape
    ],
)
def test_what_it_does_not_know_stays(function):
    graph, _ = rewritten(Rearranged(function), (torch.randn(1, 4, 5, 6),), "plain_shapes")
    assert set(targets(graph)) & {"roll", "pad", "expand"}


def test_permutes_that_undo_each_other_go():
    def there_and_back(x):
        return x.permute(0, 2, 3, 1).reshape(1, 5, 6, 4).permute(0, 3, 1, 2) * 2

    graph, _ = rewritten(Rearranged(there_and_back), (torch.randn(1, 4, 5, 6),), "plain_shapes")
    assert set(targets(graph)) == {"mul"}

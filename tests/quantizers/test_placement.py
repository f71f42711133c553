"""What is quantized, and what only carries integers to the next operator."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody reads at once

from exporters.capture import capture, flat_graph
from quantizers.placement import carried, integer_values
from quantizers.plan import Range
from quantizers.static_graph import with_ranges


class Net(torch.nn.Module):
    """A bounded convolution, padding with zeros and ones, a split, a pooling."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(3, 8, 3)
        self.second = torch.nn.Conv2d(4, 4, 3)

    def forward(self, x):
        left, right = F.relu6(self.first(x)).split(4, 1)
        y = self.second(F.pad(left, (1, 2, 1, 2)))
        z = F.max_pool2d(F.pad(right, (1, 1, 1, 1), value=1.0), 3, 1)
        return y.flatten(1).sum() + z.flatten(1).sum()


@pytest.fixture(scope="module")
def graph():
    torch.manual_seed(3)
    return flat_graph(capture(Net().eval(), (torch.zeros(1, 3, 12, 12),)))


def test_bounded_results_and_operands_are_integers(graph):
    assert integer_values(graph)[:3] == ["x", "relu6", "conv2d_1"]


def test_what_is_moved_has_the_range_of_what_it_was(graph):
    found = carried(graph, {"relu6": Range(0.0, 6.0)})
    assert list(found) == ["relu6", "getitem", "getitem_1", "pad"]  # not what holds ones
    assert set(found.values()) == {Range(0.0, 6.0)}


def test_carrying_changes_no_bit(graph):
    sample = torch.randn(1, 3, 12, 12)
    ranges = {"x": Range(-3.0, 3.0), "relu6": Range(0.0, 5.5), "conv2d_1": Range(-4.0, 4.5)}
    wide = carried(graph, ranges)
    assert len(wide) > len(ranges) + 3
    with torch.no_grad():
        once, again = (with_ranges(graph, r)(sample)[0] for r in (ranges, wide))
    assert torch.equal(once, again)


def test_indices_are_no_integers_of_a_grid():
    """Positions of a text are computed with, and stay what they are."""

    class Text(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.places = torch.nn.Embedding(12, 4)
            self.score = torch.nn.Linear(4, 2)

        def forward(self, tokens):
            return self.score(self.places(tokens * 2 + 1))

    graph = flat_graph(capture(Text().eval(), (torch.zeros(1, 6, dtype=torch.int32),)))
    assert integer_values(graph) == ["embedding", "linear"]

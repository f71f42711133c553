"""Expands that broadcasting makes superfluous, and those that are needed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import fx

from exporters.capture import flat_graph
from exporters.prepare import implicit_broadcast

Forward = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Net(torch.nn.Module):
    def __init__(self, forward: Forward) -> None:
        super().__init__()
        self.compute = forward

    def forward(self, small: torch.Tensor, large: torch.Tensor) -> torch.Tensor:
        return self.compute(small, large)


EXAMPLE = (torch.randn(1, 8, 4, 1), torch.randn(1, 8, 4, 16))


def rewritten(forward: Forward) -> tuple[fx.GraphModule, int]:
    graph = flat_graph(torch.export.export(Net(forward).eval(), EXAMPLE))
    sites = implicit_broadcast.rewrite(graph)
    graph.graph.lint()
    graph.recompile()
    return graph, sites


@pytest.mark.parametrize(
    "forward",
    [
        lambda small, large: large.relu() * small.expand_as(large),
        lambda small, large: small.expand_as(large) / large,
        lambda small, large: torch.maximum(small.expand(1, 8, 4, 16), large),
        lambda small, large: (large - (wide := small.expand_as(large))) * (wide + large),
    ],
)
def test_an_expand_before_elementwise_operators_is_dropped(forward: Forward) -> None:
    graph, sites = rewritten(forward)
    assert sites == 1
    assert not [n for n in graph.graph.nodes if "expand" in str(n.target)]
    torch.testing.assert_close(graph(*EXAMPLE)[0], forward(*EXAMPLE), rtol=0, atol=0)


@pytest.mark.parametrize(
    "forward",
    [
        lambda small, large: small.expand_as(large),  # the output is the wide value
        lambda small, large: small.expand_as(large) * 2.0,
        lambda small, large: (wide := small.expand_as(large)) * wide,
        lambda small, large: small.expand_as(large) * small,  # nothing else is that wide
        lambda small, large: torch.cat([small.expand_as(large), large], 1),
        lambda small, large: (wide := small.expand_as(large)) + large + wide.sum(),
    ],
)
def test_an_expand_that_something_needs_stays(forward: Forward) -> None:
    graph, sites = rewritten(forward)
    assert sites == 0
    torch.testing.assert_close(graph(*EXAMPLE)[0], forward(*EXAMPLE), rtol=0, atol=0)


@pytest.mark.slow
# torch's pytrees copied by litert-torch (torch 2.13, litert-torch 0.10)
@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")
def test_litert_converts_separable_attention() -> None:
    """Without the rewrite the converter says that the operands do not broadcast."""
    import litert_torch

    class Attention(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = torch.nn.Conv2d(8, 17, 1)
            self.out = torch.nn.Conv2d(8, 8, 1)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            query, key, value = self.project(image).split([1, 8, 8], 1)
            context = (key * query.softmax(-1)).sum(-1, keepdim=True)
            out: torch.Tensor = self.out(value.relu() * context.expand_as(value))
            return out

    image = torch.randn(1, 8, 4, 256)
    net = Attention().eval()
    graph = flat_graph(torch.export.export(net, (image,)))
    assert implicit_broadcast.rewrite(graph) == 1
    graph.recompile()
    converted = litert_torch.convert(graph, (image,))
    expected = net(image).detach()
    torch.testing.assert_close(torch.from_numpy(converted(image)), expected, rtol=1e-4, atol=1e-5)

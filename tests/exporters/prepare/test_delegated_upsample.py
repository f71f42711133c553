"""Nearest-neighbour resizes as transposed convolutions and constant products."""

import pytest
import torch
from torch import nn

from tests.exporters.prepare.rewriting import rewritten, targets


@pytest.mark.parametrize("channels", [16, 24, 72, 960])
def test_whole_factors_are_transposed_convolutions(channels):
    resize = nn.Upsample(scale_factor=(2, 3))
    graph, sites = rewritten(resize, (torch.randn(1, channels, 4, 3),), "delegated_upsample")
    assert sites == 1
    assert targets(graph) == {"conv_transpose2d": 1}
    kernel = next(value for name, value in graph.named_buffers() if "copies" in name)
    assert 8 <= kernel.shape[1] <= 32


@pytest.mark.parametrize(
    "resize",
    [
        nn.Upsample(size=(7, 7)),
        nn.Upsample(size=(2, 5)),
        nn.Upsample(scale_factor=1.7),
        nn.Upsample(scale_factor=2.1),  # picks otherwise than the sizes, which double
        nn.Upsample(scale_factor=5.0),
    ],
)
def test_other_factors_multiply_small_images_with_a_matrix(resize):
    graph, sites = rewritten(resize, (torch.randn(1, 20, 3, 3),), "delegated_upsample")
    assert sites == 1
    assert targets(graph) == {"reshape": 2, "linear": 1}


@pytest.mark.parametrize(
    "shape",
    [(1, 37, 16, 16), (1, 6, 16, 16)],
    ids=["no group is near 16 channels", "fewer than 8 channels"],
)
def test_what_would_be_slower_stays(shape):
    _, sites = rewritten(nn.Upsample(scale_factor=2), (torch.randn(*shape),), "delegated_upsample")
    assert sites == 0

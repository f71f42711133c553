"""Where a model is cut unasked, and where it is not."""

import torch
from torch import nn

from exporters.captured import capture_source
from exporters.graphfile import TailProgram
from exporters.parity import continues, reference
from exporters.source import from_module
from tests.exporters.nets import Residual, settle


class ChannelsLast(nn.Module):
    """Takes NHWC and permutes it itself: the convolutions see other strides than a tail does."""

    def __init__(self):
        super().__init__()
        self.net = settle(Residual())

    def forward(self, picture):
        return self.net(picture.permute(0, 3, 1, 2))


def arrays(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def test_every_cut_chosen_unasked_is_continued_bit_for_bit(tmp_path):
    for model, example in (
        (settle(Residual()), arrays(1, 3, 32, 32)),
        (ChannelsLast().eval(), arrays(1, 32, 32, 3)),
    ):
        captured, remarks = capture_source(from_module(model, (example,)), tmp_path)
        expected = reference(captured.graph, [[example.numpy()]], captured.cuts)
        tail = TailProgram.of(captured.graph)
        assert all(continues(tail, cut, expected) for cut in captured.cuts)
        assert len(captured.cuts) + len(remarks) >= 1
        assert all("bit for bit" in remark for remark in remarks)

"""The scale goes into the weights always, the mean into the bias where nothing is padded."""

import pytest
import torch
from torch import nn

from exporters.capture import capture, flat_graph
from exporters.prepare import EQUAL_DB
from exporters.prepare.fold_normalisation import rewrite
from exporters.prepare.preparation import apply_rewrites
from tests.exporters.nets import settle

aten = torch.ops.aten
# extremes at the borders, where a mean folded into the bias would show
PIXELS = torch.randint(0, 256, (1, 3, 16, 16), generator=torch.Generator().manual_seed(1)).float()
PIXELS[..., 0], PIXELS[..., -1], PIXELS[..., 0, :], PIXELS[..., -1, :] = 255.0, 255.0, 0.0, 255.0


class Normalised(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1))

    def forward(self, x):
        return self.body((x / 255 - self.mean) / self.std)


class Centred(nn.Module):
    """One number for all channels, as MobileNet v1 has it."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return self.body((x - 127.5) * (1 / 127.5))


class Stems(nn.Module):
    def __init__(self):
        super().__init__()
        self.wide, self.point = nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return self.wide(x) + self.point(x)


class Skip(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, 1, 1)

    def forward(self, x):
        return x + self.conv(x)


def folded(model):
    settle_free = {name: value.clone() for name, value in model.named_buffers()}
    settle(model)
    model.load_state_dict(settle_free, strict=False)
    graph = flat_graph(capture(model, (PIXELS,)))
    prepared = apply_rewrites(graph, (PIXELS,), [("fold_normalisation", rewrite)])
    calls = [n.target for n in prepared.graph.graph.nodes if n.op == "call_function"]
    return prepared, [call for call in calls if call in ARITHMETIC]


ARITHMETIC = (aten.mul.Tensor, aten.div.Tensor, aten.sub.Tensor, aten.add.Tensor)


@pytest.mark.parametrize("outside", [Normalised, Centred])
@pytest.mark.parametrize(
    "body",
    [
        nn.Conv2d(3, 8, 4, 4),
        nn.Conv2d(3, 8, 3, padding="valid", bias=False),
        nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(3, 8, 3)),
    ],
    ids=["patches", "valid", "pooled"],
)
def test_nothing_stays_in_front_of_an_unpadded_convolution(outside, body):
    prepared, left = folded(outside(body))
    assert [a.sites for a in prepared.applied] == [1]
    assert prepared.applied[0].snr_db >= EQUAL_DB
    assert left == []


@pytest.mark.parametrize("outside", [Normalised, Centred])
@pytest.mark.parametrize(
    "body",
    [
        nn.Conv2d(3, 8, 3, 2, 1),
        nn.Conv2d(3, 8, 3, padding="same", bias=False),
        nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 8, 3, 2)),
    ],
    ids=["padded", "same", "padded before"],
)
def test_a_subtraction_stays_in_front_of_a_padded_one(outside, body):
    prepared, left = folded(outside(body))
    assert [a.sites for a in prepared.applied] == [1]
    assert prepared.applied[0].snr_db >= EQUAL_DB
    assert left == [aten.sub.Tensor]


def test_every_convolution_that_reads_the_input():
    prepared, left = folded(Normalised(Stems()))
    assert prepared.applied
    assert left == [aten.sub.Tensor, aten.add.Tensor]


@pytest.mark.parametrize(
    "body",
    [Skip(), nn.Sequential(nn.ConstantPad2d(1, 0.5), nn.Conv2d(3, 8, 3)), nn.ReLU()],
    ids=["read by a sum", "padded with another value", "no convolution"],
)
def test_what_would_change_the_answer_stays(body):
    prepared, left = folded(Normalised(body))
    assert not prepared.applied
    assert not prepared.undone
    assert left[:3] == [aten.div.Tensor, aten.sub.Tensor, aten.div.Tensor]


def test_a_single_subtraction_is_not_folded_again():
    prepared, _ = folded(Normalised(nn.Conv2d(3, 8, 3, 2, 1)))
    assert rewrite(prepared.graph) == 0

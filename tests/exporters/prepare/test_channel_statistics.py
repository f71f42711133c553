"""What channels are like: over all inputs, of halves joined, and of what was shifted and scaled."""

import torch
from torch import nn

from exporters.prepare.channel_statistics import measured_channels
from tests.exporters.prepare.channels import flat
from tests.exporters.prepare.quantizing import IMAGE

AXES = {"conv2d": (1,)}


def outputs(module, samples):
    with torch.no_grad():
        return torch.cat([module(torch.tensor(sample[0])) for sample in samples]).double()


def test_channels_are_measured_over_everything(calibration):
    module = nn.Conv2d(3, 4, 3)
    channel = measured_channels(flat(module, IMAGE), calibration, AXES)["conv2d"]
    values = outputs(module, calibration).movedim(1, 0).flatten(1)
    assert channel.low.shape == (1, 4, 1, 1)
    for name, expected in (
        ("low", values.amin(1)),
        ("high", values.amax(1)),
        ("mean", values.mean(1)),
        ("variance", values.var(1, correction=0)),
    ):
        torch.testing.assert_close(
            getattr(channel, name).reshape(-1), expected, rtol=1e-4, atol=1e-5
        )


def test_halves_joined_are_the_whole(calibration):
    graph = flat(nn.Conv2d(3, 4, 3), IMAGE)
    whole, first, second = (
        measured_channels(graph, part, AXES)["conv2d"]
        for part in (calibration, calibration[:8], calibration[8:])
    )
    joined = first.joined(second)
    for name in ("low", "high", "mean", "variance"):
        torch.testing.assert_close(
            getattr(joined, name), getattr(whole, name), rtol=1e-6, atol=1e-8
        )


def test_shifted_divided_and_reaching_further(calibration):
    graph = flat(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), IMAGE)
    channel = measured_channels(graph, calibration, {"relu": (1,)})["relu"]
    moved = channel.shifted(channel.mean).divided(torch.full((1, 4, 1, 1), 2.0))
    torch.testing.assert_close(moved.mean, torch.zeros_like(moved.mean))
    torch.testing.assert_close(moved.variance * 4, channel.variance)
    torch.testing.assert_close(moved.high * 2, channel.high - channel.mean)
    low, high = channel.reach()
    assert (low == 0).all()  # nothing is below a ReLU
    assert (high >= channel.high).all()
    assert (high >= channel.mean + 5.9 * channel.variance.sqrt()).all()

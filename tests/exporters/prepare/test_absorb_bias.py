"""What centred channels are worth: narrower ranges, and an attention whose weights may err."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody reads at once
from torch import nn

from exporters.prepare.absorb_bias import absorbed
from exporters.prepare.channel_shifts import shiftable
from exporters.prepare.channel_statistics import measured_channels
from quantizers.solve import Methods
from tests.exporters.prepare.channels import Attention, agreement, flat
from tests.exporters.prepare.quantizing import IMAGE, quantized_db, settled, solved
from tests.exporters.prepare.test_channel_ties import Around


def centred(graph, samples):
    """The graph with centred channels, and how many were moved."""
    makers = list(shiftable(graph).channels)
    axes = {n.name: (1 if "conv" in n.name else n.meta["val"].ndim - 1,) for n in makers}
    made, _, count = absorbed(graph, measured_channels(graph, samples, axes))
    return made, count


def tokens(count, seed):
    generator = np.random.default_rng(seed)
    return [(generator.normal(size=(1, 64, 32)).astype(np.float32),) for _ in range(count)]


class Widened(nn.Module):
    """The norm and the first layer of a transformer's MLP, (1, 64, 32) -> (1, 64, 64)."""

    def __init__(self):
        super().__init__()
        self.norm, self.widen = nn.LayerNorm(32), nn.Linear(32, 64)

    def forward(self, x):
        return self.widen(self.norm(x))


def test_channels_that_lie_apart_are_worth_centring():
    module = settled(Widened())
    nn.init.normal_(module.norm.bias, 0, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():  # what the network then computes has no such offset
        module.widen.bias -= module.widen.weight @ module.norm.bias
    graph = flat(module, torch.zeros(1, 64, 32))
    seen, others = tokens(16, 0), tokens(8, 1)
    made, count = centred(graph, seen)
    assert count == 32
    assert agreement(graph, made, torch.tensor(others[0][0])) > 100
    found = [quantized_db(one, seen, others) for one in (graph, made)]
    assert found[1] > found[0] + 3


class Lifted(Around):
    """A ReLU that lets some channels through whole."""

    def __init__(self, lift):
        super().__init__(F.relu, after=nn.Conv2d(8, 4, 1))
        with torch.no_grad():
            self.before.bias[:3] += lift  # type: ignore[index]  # it has one


def test_what_a_relu_always_lets_through_is_absorbed(calibration, judged):
    torch.manual_seed(0)
    graph = flat(Lifted(20.0), IMAGE)
    made, count = centred(graph, calibration)
    assert count == 3
    for sample in judged:
        assert agreement(graph, made, torch.tensor(sample[0])) > 100
    tops = [float(value_behind_relu(one, judged).amax()) for one in (graph, made)]
    assert tops[0] > 18
    assert tops[1] < 8


def test_channels_that_a_relu_cuts_stay(calibration):
    torch.manual_seed(0)
    graph = flat(Lifted(0.0), IMAGE)
    _, count = centred(graph, calibration)
    assert count == 0


def value_behind_relu(graph, samples):
    """Its channels' highest on these inputs."""
    (name,) = (node.name for node in graph.graph.nodes if "relu" in str(node.target))
    return measured_channels(graph, samples, {name: (1,)})[name].high


def test_weights_of_an_attention_that_do_not_sum_to_one():
    """What they lack makes a mean error, which a bias takes away; centred values have none."""
    module = settled(Attention(32, spelled=True))
    nn.init.constant_(module.qkv.bias[64:], 3.0)
    graph = flat(module, torch.zeros(1, 64, 32))
    seen, others = tokens(16, 0), tokens(8, 1)
    kept = Methods(correct_bias=False)
    lost, corrected = (
        solved(graph, seen, pinned=True, methods=methods) for methods in (kept, Methods())
    )
    made, _ = centred(graph, seen)
    within = solved(made, seen, pinned=True, methods=kept)
    assert row_sums(lost, others) < 0.995
    errors = [mean_error(graph, one, others) for one in (lost, corrected, within)]
    assert errors[0] > 0.1
    assert errors[1] < errors[0] / 4
    assert errors[2] < errors[0] / 10
    both = [quantized_db(one, seen, others, pinned=True) for one in (graph, made)]
    assert both[1] > both[0] + 1


def mean_error(graph, other, samples):
    """Largest mean error of an output channel, in parts of its standard deviation."""
    with torch.inference_mode():
        pairs = [[one(torch.tensor(s[0]))[0][0] for one in (graph, other)] for s in samples]
    right, given = (torch.cat(part) for part in zip(*pairs, strict=True))
    return float(((given - right).mean(0).abs() / right.std(0)).max())


def row_sums(graph, samples):
    """Mean over all rows of attention weights, as integers hold them."""
    sums = []

    class Recorder(torch.fx.Interpreter):
        def run_node(self, n):
            result = super().run_node(n)
            if n.name.startswith("softmax") and n.name.endswith("dequantized"):
                sums.append(float(result.sum(-1).mean()))
            return result

    with torch.inference_mode():
        for sample in samples:
            Recorder(graph).run(torch.tensor(sample[0]))
    return sum(sums) / len(sums)

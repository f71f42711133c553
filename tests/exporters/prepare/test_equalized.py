"""What evening out channels is worth, and that it is left alone where it is worth nothing.

Calibrated on crops of four photos, judged on crops of three others; quantized as for a file.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody reads at once

from exporters.prepare.channel_ties import tied_channels
from exporters.prepare.equalize import equalized_weights
from exporters.prepare.equalized import equalized
from quantizers.recipe import recipe
from tests.exporters.prepare.channels import Inverted, Transformer, agreement, flat
from tests.exporters.prepare.quantizing import IMAGE, quantized_db, settled


def unbalanced(graph, spread, seed=0):
    """The same function with channels scaled at random: standard deviation of the logarithms."""
    channels = tied_channels(graph)
    generator = torch.Generator().manual_seed(seed)
    logs = torch.randn(channels.classes + 1, dtype=torch.double, generator=generator) * spread
    return equalized_weights(graph, channels, logs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("activate", "spread"), [(F.relu, 1.5), (F.relu6, 2.5)], ids=["relu", "relu6"]
)
def test_scaled_channels_are_brought_back(activate, spread, calibration, judged):
    balanced = flat(settled(Inverted(activate)), IMAGE)
    graph = unbalanced(balanced, spread)
    even = equalized(graph, calibration, recipe("w8a8"))
    example = torch.tensor(judged[0][0])
    assert agreement(graph, even.graph, example) > 100
    assert agreement(balanced, graph, example) > 100
    without, within = (quantized_db(one, calibration, judged) for one in (graph, even.graph))
    assert within > without + 8
    assert within > quantized_db(balanced, calibration, judged) - 6


@pytest.mark.slow
def test_four_bit_weights_gain_from_like_inputs(calibration, judged):
    graph = unbalanced(flat(settled(Inverted(F.relu)), IMAGE), 1.5)
    even = equalized(graph, calibration, recipe("w4"))
    found = [quantized_db(one, calibration, judged, asked="w4") for one in (graph, even.graph)]
    assert found[1] > found[0] + 1


def outlying(*, spelled=False):
    """A transformer whose norms give two channels that are far larger than the others."""
    module = settled(Transformer(spelled=spelled))
    with torch.no_grad():
        for norm, reader in zip(
            module.norms,
            (module.attend[0].qkv, module.widen[0], module.attend[1].qkv, module.widen[1]),
            strict=True,
        ):
            for channel, factor in ((3, 40.0), (11, 25.0)):
                norm.weight[channel] *= factor
                norm.bias[channel] *= factor
                reader.weight[:, channel] /= factor
    return flat(module, IMAGE)


@pytest.mark.slow
def test_outliers_of_a_norm_go_to_the_layers_behind_it(calibration, judged):
    graph = outlying()
    even = equalized(graph, calibration, recipe("w8a8"))
    assert agreement(graph, even.graph, torch.tensor(judged[0][0])) > 100
    without, within = (quantized_db(one, calibration, judged) for one in (graph, even.graph))
    assert within > without + 5
    worst = even.distributions[0]
    assert worst.kind == "activation"
    assert worst.name.startswith("norms.")
    assert worst.spread_before > 15
    assert worst.spread_after < 4
    assert {one.kind for one in even.distributions} == {"activation", "weight"}


def test_a_balanced_network_is_left_alone(calibration):
    graph = flat(settled(Inverted(F.relu6)), IMAGE)
    even = equalized(graph, calibration[:8], recipe("w8"))
    assert even.graph is graph
    assert even.distributions == ()
    (said,) = even.steps
    assert said.startswith("equalize left out: ")
    assert "dB on inputs held out would be" in said


def test_what_was_done_is_said(calibration):
    graph = unbalanced(flat(settled(Inverted(F.relu)), IMAGE), 1.5)
    even = equalized(graph, calibration[:8], recipe("w8a8"))
    assert even.steps[0].startswith("equalize: ")
    assert "channels, outputs equal to 1" in even.steps[0]
    assert even.steps[0].endswith("dB on inputs held out")
    calls = [node.name for node in graph.graph.nodes if node.op == "call_function"]
    assert [n.name for n in even.graph.graph.nodes if n.op == "call_function"] == calls


@pytest.mark.parametrize("asked", ["fp16", "w8a8"])
def test_nothing_is_tried_without_integers_or_inputs(asked, calibration):
    graph = flat(settled(Inverted(F.relu)), IMAGE)
    even = equalized(graph, calibration[:3] if asked == "w8a8" else calibration, recipe(asked))
    assert even.graph is graph
    assert even.steps == ()


def test_what_fails_is_left_out_and_said(calibration):
    graph = flat(settled(Inverted(F.relu)), IMAGE)
    narrow = [(sample[0][:, :2],) for sample in calibration]
    even = equalized(graph, narrow, recipe("w8a8"))
    assert even.graph is graph
    assert even.steps[0].startswith("equalize left out: RuntimeError: ")


@pytest.mark.slow
def test_values_that_a_cut_hands_on_stay(calibration):
    graph = unbalanced(flat(settled(Inverted(F.relu)), IMAGE), 1.5)
    cut = "add"
    free, kept = (
        equalized(graph, calibration, recipe("w8a8"), kept=names).graph for names in ((), (cut,))
    )
    example = torch.tensor(calibration[0][0])
    values = [value_of(one, cut, example) for one in (graph, free, kept)]
    assert not torch.allclose(values[0], values[1], rtol=0.01)
    torch.testing.assert_close(values[0], values[2])


def value_of(graph, name, example):
    node = next(one for one in graph.graph.nodes if one.name == name)
    seen = {}

    class Recorder(torch.fx.Interpreter):
        def run_node(self, n):
            seen[n.name] = super().run_node(n)
            return seen[n.name]

    with torch.inference_mode():
        Recorder(graph).run(example)
    return seen[node.name]

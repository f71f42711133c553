"""Noise by layer and damage by weight: in order, of what is read, and nothing where nothing is."""

import numpy as np
import pytest
import torch
from torch import nn

from exporters.capture import capture, flat_graph
from headtail.metrics import DB_LIMIT, snr_db
from quantizers.activation_ranges import observed
from quantizers.plan import Plan
from quantizers.profiles import noise_profile, sensitivity_run
from quantizers.recipe import RECIPES, recipe
from quantizers.solve import solve
from quantizers.static_graph import reference_graph

LAYERS = ("head.stem.0", "head.project.0", "tail.0", "classify")


@pytest.fixture(scope="module")
def graph(net, samples):
    return flat_graph(capture(net, (torch.from_numpy(samples[0][0]),)))


@pytest.fixture(scope="module")
def plans(graph, samples):
    """Precision -> its reference and its plan."""
    ranges = observed(graph, samples[:10]).ranges()
    made = {}
    for name in ("w8", "w8a8", "w4"):
        asked = RECIPES[name]
        given = ranges if asked.activation_mode == "static" else None
        program, plan = solve(graph, samples[:10], asked, ranges=given)
        made[name] = (reference_graph(program, plan), plan)
    return made


def profile(graph, plans, samples, name):
    return noise_profile(graph, plans[name][0], samples[10:], precision=name)


def test_layers_stand_in_order_with_their_modules_and_kinds(graph, plans, samples):
    found = profile(graph, plans, samples, "w8a8")
    assert tuple(one.layer for one in found.layers) == LAYERS
    assert [one.op for one in found.layers] == ["conv", "conv", "conv", "linear"]
    assert (found.precision, found.format, found.n) == ("w8a8", "", 5)


def test_the_last_layer_s_noise_is_that_of_the_outputs(graph, plans, samples):
    found = profile(graph, plans, samples, "w4")
    with torch.inference_mode():
        true, seen = (
            [run(torch.tensor(sample))[0].numpy() for (sample,) in samples[10:]]
            for run in (graph, plans["w4"][0])
        )
    snrs = [snr_db(reference=a, candidate=b) for a, b in zip(true, seen, strict=True)]
    assert found.layers[-1].snr_db == pytest.approx(np.mean(snrs), abs=0.05)


def test_integers_for_activations_and_fewer_bits_are_more_noise(graph, plans, samples):
    w8, w8a8, w4 = (profile(graph, plans, samples, n).layers for n in ("w8", "w8a8", "w4"))
    assert all(one.snr_db > other.snr_db for one, other in zip(w8, w8a8, strict=True))
    assert w8[-1].snr_db > w4[-1].snr_db


def test_a_network_is_bit_equal_to_itself(graph, samples):
    same = reference_graph(graph, Plan(recipe("fp32")))
    found = noise_profile(graph, same, samples[:2], precision="fp32")
    assert {one.snr_db for one in found.layers} == {DB_LIMIT}


def test_a_layer_is_measured_behind_what_a_runtime_fuses():
    """Noise that the ReLU6 cuts off is not told of the convolution before it."""
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 8, 1)
    assert layer.bias is not None
    nn.init.constant_(layer.bias, -50.0)  # nothing gets through
    samples = [(np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32),)]
    found = []
    for after in ([], [nn.ReLU6()]):
        net = nn.Sequential(layer, *after).eval()
        graph = flat_graph(capture(net, (torch.from_numpy(samples[0][0]),)))
        program, plan = solve(graph, samples, recipe("w4"))
        run = reference_graph(program, plan)
        found.append(noise_profile(graph, run, samples, precision="w4").layers[0].snr_db)
    assert found[0] < 100
    assert found[1] == DB_LIMIT


def test_damage_is_that_of_the_plan_s_own_weights(graph, plans, samples):
    few, many = (sensitivity_run(graph, plans[n][1], samples[10:]) for n in ("w4", "w8"))
    assert [one.layer for one in few.layers] == list(LAYERS)
    assert (few.storage, few.n) == ("w4", 5)
    assert few.layers[2].weights == 48 * 32 * 9
    assert sum(one.damage for one in few.layers) > 4 * sum(one.damage for one in many.layers)
    assert all(one.damage > 0 for one in many.layers)

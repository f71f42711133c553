"""Methods tuned for one network: the best of what was tried, judged on inputs held out."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from exporters.capture import capture, flat_graph
from headtail.errors import UsageFault
from quantizers.fitting import Methods
from quantizers.recipe import RECIPES
from quantizers.tuning import tuned, usual


@pytest.fixture(scope="module")
def graph(net):
    return flat_graph(capture(net, (torch.zeros(1, 3, 32, 32),)))


def scores(heard):
    return [float(line.rsplit(": ", 1)[1].removesuffix(" dB")) for line in heard]


def test_the_first_trial_is_the_default_and_the_best_is_taken(graph, samples):
    heard: list[str] = []
    found = tuned(graph, samples, RECIPES["w8a8"], trials=6, told=heard.append)
    assert len(heard) == 6
    assert "ranges mse, scales searched, rounding path following, biases corrected" in heard[0]
    assert f"{max(scores(heard)):.2f} dB on" in found.said
    assert f"{scores(heard)[0]:.2f} by default" in found.said
    assert "6 trials of 32 (26 saved)" in found.said
    best = heard[int(np.argmax(scores(heard)))]
    assert found.estimator in best
    assert found.methods.search_scales == ("scales searched" in best)
    assert found.methods.follow_path == ("path following" in best)
    assert found.methods.correct_bias == ("biases corrected" in best)


def test_one_trial_is_the_default(graph, samples):
    found = tuned(graph, samples, RECIPES["w4"], trials=1)
    assert replace(found, said="") == usual(RECIPES["w4"])


def test_few_bits_keep_biases_and_see_variations_of_images(graph, samples):
    few, many = usual(RECIPES["w4b32"]), usual(RECIPES["w8a8"])
    assert (few.methods, few.widen) == (Methods(correct_bias=False), True)
    assert (many.methods, many.widen) == (Methods(), False)
    heard: list[str] = []
    tuned(graph, samples[:6], RECIPES["p4"], trials=1, told=heard.append)
    assert "biases kept" in heard[0]


def test_ranges_are_a_choice_of_static_activations_only(graph, samples):
    heard: list[str] = []
    tuned(graph, samples[:4], RECIPES["w4"], trials=2, told=heard.append)
    assert not any("ranges" in line for line in heard)


def test_where_the_default_is_not_the_best_the_best_is_used(graph, samples):
    """Fitted to pictures of one colour, mean errors are not those of photos: better left alone."""
    flat = [tuple(np.full_like(array, 3.0) for array in sample) for sample in samples]
    mixed = [one for pair in zip(flat, samples, strict=True) for one in pair][:8]
    heard: list[str] = []
    found = tuned(graph, mixed, RECIPES["w8"], trials=8, told=heard.append)
    assert max(scores(heard)) > scores(heard)[0] + 1
    assert found.methods != Methods()


def test_what_cannot_be_tuned_is_refused(graph, samples):
    with pytest.raises(UsageFault, match="with 1 calibration samples"):
        tuned(graph, samples[:1], RECIPES["w8"], trials=2)
    with pytest.raises(UsageFault, match="0 trials"):
        tuned(graph, samples, RECIPES["w8"], trials=0)

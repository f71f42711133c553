"""Mixed precision on EfficientNet-Lite0 with its ImageNet weights and real photos."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from exporters import efficientnet_lite0
from exporters.capture import capture, flat_graph
from exporters.prepare import fold_batch_norm
from quantizers.allocate import allocate
from quantizers.candidates import Budget, candidates_of, stored_size
from quantizers.recipe import Storage
from quantizers.sensitivity import measured, predicted, together
from quantizers.sites import sites, weight_of

pytestmark = pytest.mark.slow

F16, I8, I4 = Storage("f16"), Storage("i8"), Storage("i4")
COUNT = 3


@pytest.fixture(scope="module")
def graph():
    made = flat_graph(capture(efficientnet_lite0.get_model(), efficientnet_lite0.get_args()))
    assert fold_batch_norm.rewrite(made) == 49
    made.recompile()
    return made


@pytest.fixture(scope="module")
def samples():
    preprocess = efficientnet_lite0.get_preprocess()
    return [(preprocess(crop),) for crop in efficientnet_lite0.get_calibration_data()[:COUNT]]


def rounded(weight, storage):
    """Nearest values of a symmetric grid with a scale per output channel."""
    if storage == F16:
        return weight.half().float()
    top = (1 << storage.bits - 1) - 1
    largest = weight.abs().flatten(1).amax(1).clamp(min=1e-12)  # some channels are zero
    scale = largest.reshape(-1, *[1] * (weight.ndim - 1)) / top
    return torch.clamp((weight / scale).round(), -top, top) * scale


@pytest.fixture(scope="module")
def stored(graph):
    weights = {site.weight: weight_of(graph, site.weight) for site in sites(graph)}
    return {name: {s: rounded(w, s) for s in (F16, I8, I4)} for name, w in weights.items()}


@pytest.fixture(scope="module")
def scores(graph, samples, stored):
    return measured(graph, samples, stored)


def decibel(damage):
    return -10 * math.log10(damage)


def ranks(values):
    return np.argsort(np.argsort(values))


def test_the_second_order_score_ranks_weights_as_running_them_does(graph, samples, stored, scores):
    cheap = predicted(graph, samples, stored)
    for storage in (F16, I8, I4):
        exact = [score.damage[storage] for score in scores]
        guess = [score.damage[storage] for score in cheap]
        assert np.corrcoef(ranks(exact), ranks(guess))[0, 1] > 0.85


def test_damages_add_up_and_the_choice_beats_one_storage_for_all(graph, samples, stored, scores):
    def whole(storages):
        chosen = {name: {s: stored[name][s]} for name, s in storages.items()}
        return decibel(together(graph, samples, chosen))

    uniform = dict.fromkeys(stored, I8)
    alone = whole(uniform)
    assert alone == pytest.approx(decibel(sum(s.damage[I8] for s in scores)), abs=1.5)
    candidates = candidates_of(scores)
    int8 = sum(stored_size(score.site, I8) for score in scores)
    found = allocate(candidates, Budget(size=int(1.15 * int8)))
    assert whole(found.storages) > alone + 4  # dB for 15 % of the bytes
    assert whole(found.storages) == pytest.approx(decibel(found.damage), abs=1.5)

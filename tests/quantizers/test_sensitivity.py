import copy
import math

import numpy as np
import pytest
import torch

from exporters.capture import capture, capture_batched, flat_graph
from headtail.errors import UnknownName, UsageFault
from quantizers.recipe import Storage
from quantizers.sensitivity import measured, predicted, together
from quantizers.sites import sites, weight_of

I8, I4, I2 = Storage("i8"), Storage("i4"), Storage("i2")


def rounded(weight: torch.Tensor, storage: Storage) -> torch.Tensor:
    """Nearest values of a symmetric grid with a scale per output channel."""
    top = (1 << storage.bits - 1) - 1
    scale = weight.abs().flatten(1).amax(1).reshape(-1, *[1] * (weight.ndim - 1)) / top
    return (weight / scale).round().clamp(-top, top) * scale


def all_stored(graph, *storages):
    return {
        site.weight: {s: rounded(weight_of(graph, site.weight), s) for s in storages}
        for site in sites(graph)
    }


def graph_of(module, *example):
    return flat_graph(capture(module.eval(), example))


@pytest.fixture(scope="module")
def graph(net):
    return graph_of(net, torch.zeros(1, 3, 32, 32))


@pytest.fixture(scope="module")
def stored(graph):
    return all_stored(graph, I8, I4)


def brute(net, samples, weights, biases=None):
    """Noise over signal of a copy of the module with other parameters."""
    changed = copy.deepcopy(net)
    with torch.no_grad():
        for name, values in (weights | (biases or {})).items():
            changed.get_parameter(name).copy_(values)
        inputs = torch.from_numpy(np.concatenate([sample[0] for sample in samples]))
        clean, noisy = net(inputs).double(), changed(inputs).double()
    return ((clean - noisy).square().sum() / clean.square().sum()).item()


def decibel(damage):
    return -10 * math.log10(damage)


def test_measured_is_what_the_module_itself_shows(net, samples, graph, stored):
    found = measured(graph, samples, stored, corrected=False)
    assert [score.site.module for score in found] == [
        "head.stem.0", "head.project.0", "tail.0", "classify",
    ]  # fmt: skip
    for score in found:
        for storage, damage in score.damage.items():
            weights = {score.site.weight: stored[score.site.weight][storage]}
            assert damage == pytest.approx(brute(net, samples, weights), rel=1e-3)


def test_corrected_is_what_the_module_shows_with_its_bias_moved(net, samples, graph, stored):
    name, values = "classify.weight", stored["classify.weight"][I4]
    score = measured(graph, samples, {name: {I4: values}})[0]
    with torch.no_grad():
        inputs = torch.from_numpy(np.concatenate([sample[0] for sample in samples]))
        pooled = net.tail(net.head(inputs)).mean((2, 3))
        mean = (pooled @ (values - net.classify.weight).T).mean(0)
    bias = {"classify.bias": net.classify.bias - mean}
    assert score.damage[I4] == pytest.approx(brute(net, samples, {name: values}, bias), rel=1e-3)


def test_without_bias_correction_the_damage_is_larger(samples, graph, stored):
    plain, corrected = (
        sum(score.damage[I4] for score in measured(graph, samples, stored, corrected=flag))
        for flag in (False, True)
    )
    assert corrected < 0.8 * plain


def test_a_batch_counts_like_its_rows(net, samples, stored):
    program = capture_batched(net, (torch.zeros(1, 3, 32, 32),))
    assert program is not None
    batched = flat_graph(program)
    whole = [(np.concatenate([sample[0] for sample in samples]),)]
    for rows, batch in zip(
        measured(batched, samples, stored), measured(batched, whole, stored), strict=True
    ):
        assert rows.damage[I4] == pytest.approx(batch.damage[I4], rel=1e-3)


def ranks(values):
    return np.argsort(np.argsort(values))


def test_predicted_agrees_with_measured(samples, graph):
    stored = all_stored(graph, I8, Storage("lut6"), I4)
    exact = [d for s in measured(graph, samples, stored) for d in s.damage.values()]
    guess = [d for s in predicted(graph, samples, stored) for d in s.damage.values()]
    assert np.corrcoef(ranks(exact), ranks(guess))[0, 1] > 0.9
    decibels = np.abs(np.log10(exact) - np.log10(guess)) * 10
    assert np.median(decibels) < 1.5


def test_predicted_is_the_mean_it_says_for_a_linear_network():
    torch.manual_seed(0)
    module = torch.nn.Linear(20, 5)
    graph = graph_of(module, torch.zeros(1, 20))
    rng = np.random.default_rng(0)
    samples = [(rng.standard_normal((1, 20)).astype(np.float32),) for _ in range(300)]
    stored = all_stored(graph, I4)
    for flag in (True, False):
        exact = measured(graph, samples, stored, corrected=flag)[0].damage[I4]
        guess = predicted(graph, samples, stored, corrected=flag)[0].damage[I4]
        error = math.sqrt(2 / (4 * 300))  # the standard error of Hutchinson's estimate
        assert guess == pytest.approx(exact, rel=3 * error)


def test_predicted_depends_on_nothing_but_its_seed(samples, graph, stored):
    first, again, other = (predicted(graph, samples[:3], stored, seed=s) for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_damages_add_up(samples, graph, stored):
    parts = sum(score.damage[I8] for score in measured(graph, samples, stored))
    whole = together(graph, samples, {name: {I8: of[I8]} for name, of in stored.items()})
    assert decibel(whole) == pytest.approx(decibel(parts), abs=1.0)


class Shared(torch.nn.Module):
    """A table of embeddings, one linear layer used twice, two outputs of very different size."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(11, 6)
        self.twice = torch.nn.Linear(6, 6)

    def forward(self, indices):
        first = self.twice(self.table(indices))
        second = self.twice(torch.relu(first))
        return 1000 * first.mean(1), second.mean(1)


@pytest.fixture(scope="module")
def shared():
    torch.manual_seed(3)
    graph = graph_of(Shared(), torch.zeros(1, 9, dtype=torch.int32))
    rng = np.random.default_rng(1)
    return graph, [(rng.integers(0, 11, (1, 9)).astype(np.int32),) for _ in range(40)]


def test_a_weight_used_twice_is_changed_in_both_places(shared):
    graph, samples = shared
    module = Shared()
    module.load_state_dict(dict(graph.named_parameters()))
    weight = rounded(module.twice.weight.detach(), I4)
    noise, signal = np.zeros(2), np.zeros(2)
    with torch.no_grad():
        clean = [module(torch.from_numpy(sample[0])) for sample in samples]
        module.twice.weight.copy_(weight)
        for sample, before in zip(samples, clean, strict=True):
            after = module(torch.from_numpy(sample[0]))
            pairs = list(zip(before, after, strict=True))
            noise += [(a - b).square().sum().item() for a, b in pairs]
            signal += [a.square().sum().item() for a, _ in pairs]
    found = measured(graph, samples, {"twice.weight": {I4: weight}}, corrected=False)
    assert found[0].damage[I4] == pytest.approx(float((noise / signal).mean()), rel=1e-3)


def test_every_kind_of_weight_and_output_is_predicted(shared):
    graph, samples = shared
    stored = all_stored(graph, I8)
    exact, guess = measured(graph, samples, stored), predicted(graph, samples, stored)
    assert [score.site.kinds for score in exact] == [{"embedding"}, {"linear"}]
    for one, other in zip(exact, guess, strict=True):
        assert decibel(one.damage[I8]) == pytest.approx(decibel(other.damage[I8]), abs=2.0)


def test_a_weight_that_is_no_site_is_refused_with_those_that_are(graph, samples):
    with pytest.raises(UnknownName, match=r"Known: classify\.weight, .*tail\.0\.weight"):
        measured(graph, samples, {"tail.0.bias": {I8: torch.zeros(48)}})


@pytest.mark.parametrize("score", [measured, predicted])
def test_weights_that_are_not_finite_are_refused_by_name(graph, samples, stored, score):
    broken = stored["classify.weight"][I4] / 0.0
    with pytest.raises(UsageFault, match=r"'classify\.weight' as i4 makes a noise of nan"):
        score(graph, samples[:2], {"classify.weight": {I4: broken}})


@pytest.mark.parametrize("score", [measured, predicted, together])
def test_no_samples_are_refused(graph, stored, score):
    with pytest.raises(UsageFault, match="There are no samples"):
        score(graph, [], stored)


def test_a_sample_with_another_number_of_arrays_is_refused(graph, samples, stored):
    with pytest.raises(UsageFault, match=r"A sample has 2 arrays\. The network has 1 inputs"):
        measured(graph, [samples[0] * 2], stored)


@pytest.mark.parametrize(("factor", "said"), [(0.0, "power of 0 "), (math.nan, "power of nan ")])
def test_outputs_without_a_signal_are_refused(factor, said):
    class Dead(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(4, 4)

        def forward(self, x):
            return self.linear(x), self.linear(x) * factor

    graph = graph_of(Dead(), torch.zeros(1, 4))
    with pytest.raises(UsageFault, match=f"Output 1 has a {said}over 1 samples"):
        measured(graph, [(np.ones((1, 4), np.float32),)], all_stored(graph, I8))


def test_a_network_without_a_floating_point_output_is_refused():
    class Answer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(4, 4)

        def forward(self, x):
            return self.linear(x).argmax(1)

    graph = graph_of(Answer(), torch.zeros(1, 4))
    with pytest.raises(UsageFault, match="None of the network's 1 outputs is floating point"):
        measured(graph, [(np.ones((1, 4), np.float32),)], all_stored(graph, I8))

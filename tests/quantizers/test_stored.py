import numpy as np
import pytest
import torch

from exporters.capture import capture, flat_graph
from headtail.errors import UsageFault
from quantizers.fitting import Methods
from quantizers.recipe import Storage
from quantizers.sensitivity import measured
from quantizers.sites import sites, weight_of
from quantizers.stored import divided, stored_weights

I8, I4, I4B16, P4, F16 = map(Storage, ("i8", "i4", "i4", "lut4", "f16"), (0, 0, 16, 0, 0))


@pytest.fixture(scope="module")
def graph(net):
    return flat_graph(capture(net, (torch.zeros(1, 3, 32, 32),)))


def test_values_lie_on_the_grid_of_their_storage(graph, samples):
    stored = stored_weights(graph, samples[:4], (I8, I4, P4, F16))
    assert list(stored) == [site.weight for site in sites(graph)]
    for name, of in stored.items():
        weight = weight_of(graph, name)
        assert torch.equal(of[F16], weight.half().float())
        for storage, most in ((I8, 255), (I4, 15)):
            distinct = [len(np.unique(channel)) for channel in of[storage].numpy()]
            assert max(distinct) <= most
        error = [(of[storage] - weight).square().sum() for storage in (I8, P4, I4)]
        assert error == sorted(error)


def test_a_block_that_does_not_fit_is_not_offered(graph, samples):
    stored = stored_weights(graph, samples[:2], (I8, I4B16))
    offered = {name: set(of) for name, of in stored.items()}
    assert offered["head.stem.0.weight"] == {I8}
    assert offered["head.project.0.weight"] == {I8}
    assert offered["classify.weight"] == offered["tail.0.weight"] == {I8, I4B16}


def test_fitted_weights_do_less_damage_than_rounded_ones(graph, samples):
    plain = Methods(search_scales=False, follow_path=False)
    damage = {}
    for methods in (Methods(), plain):
        stored = stored_weights(graph, samples, (I4,), methods=methods)
        damage[methods] = sum(score.damage[I4] for score in measured(graph, samples, stored))
    assert damage[Methods()] < 0.7 * damage[plain]


def test_a_table_of_embeddings_is_fitted_too():
    class Looked(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding(7, 4)

        def forward(self, indices):
            return self.table(indices).sum(1)

    graph = flat_graph(capture(Looked().eval(), (torch.zeros(1, 3, dtype=torch.int32),)))
    samples = [(np.array([[0, 3, 6]], np.int32),)]
    stored = stored_weights(graph, samples, (I8,))["table.weight"][I8]
    assert stored.numpy() == pytest.approx(weight_of(graph, "table.weight").numpy(), abs=0.02)


def test_weights_are_judged_by_samples_they_were_not_fitted_to():
    samples = [(np.full(1, index),) for index in range(40)]
    fitted_on, judged_on = divided(samples, what="w4 was to be tuned")
    assert [int(one[0]) for (one,) in fitted_on] == list(range(0, 32, 2))
    assert [int(one[0]) for (one,) in judged_on] == list(range(1, 32, 2))


def test_on_samples_they_were_fitted_to_weights_look_better_than_they_are(graph, samples):
    few, others = samples[:3], samples[3:]
    stored = stored_weights(graph, few, (I4,))
    flattered, true = (
        sum(score.damage[I4] for score in measured(graph, judged, stored))
        for judged in (few, others)
    )
    assert flattered < 0.8 * true


def test_one_sample_is_too_few_to_divide():
    with pytest.raises(UsageFault, match="w4 was to be tuned with 1 calibration samples"):
        divided([(np.zeros(1),)], what="w4 was to be tuned")

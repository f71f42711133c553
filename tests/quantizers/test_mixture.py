"""A recipe chosen within a budget: what may be chosen, what is, and what cannot be reached."""

import pytest
import torch

from exporters.capture import capture, flat_graph
from headtail.errors import UsageFault
from quantizers.candidates import stored_size
from quantizers.mixture import NAME, Mixture, choose_recipe
from quantizers.recipe import RECIPES, Storage
from quantizers.sites import sites, storages, weight_of
from quantizers.support import BACKENDS, refusal

I8, I4, F16 = Storage("i8"), Storage("i4"), Storage("f16")
OFFER = (I8, I4, F16)
LITERT = ("litert",)


@pytest.fixture(scope="module")
def graph(net):
    return flat_graph(capture(net, (torch.zeros(1, 3, 32, 32),)))


def weights_size(graph, recipe):
    chosen = storages(sites(graph), recipe)
    return sum(stored_size(site, chosen[site.weight]) for site in sites(graph))


def held_otherwise(graph):
    """Bytes of what is no weight: biases, and those that correction will add; batch norms, which
    are not folded here; and what is said about operators, which is an estimate."""
    layers = sites(graph)
    known = {site.weight for site in layers}
    constants = {str(n.target) for n in graph.graph.nodes if n.op == "get_attr"} - known
    calls = {n.name: n for n in graph.graph.nodes if n.op == "call_function"}
    bare = [s for s in layers if len(calls[s.nodes[0]].args) < 3 or not calls[s.nodes[0]].args[2]]
    grown = sum(4 * site.shape[0] for site in bare)
    return sum(4 * weight_of(graph, n).numel() for n in constants) + grown + 1200 * len(calls)


def test_a_budget_of_bytes_is_kept_and_used(graph, samples):
    eight, four = (weights_size(graph, RECIPES[name]) for name in ("w8", "w4"))
    middle = (eight + four) // 2 + held_otherwise(graph)
    chosen = choose_recipe(graph, samples, Mixture(max_bytes=middle, formats=LITERT), OFFER)
    size = weights_size(graph, chosen.recipe)
    assert middle - held_otherwise(graph) >= size > 0.9 * (middle - held_otherwise(graph))
    assert chosen.recipe.name == NAME
    assert len({storage.dtype for storage in storages(sites(graph), chosen.recipe).values()}) > 1
    assert str(size) in chosen.said
    assert {score.site.weight for score in chosen.scores} == {s.weight for s in sites(graph)}


def test_more_bytes_do_less_damage(graph, samples):
    def damage(size):
        chosen = choose_recipe(graph, samples, Mixture(max_bytes=size, formats=LITERT), OFFER)
        stored = storages(sites(graph), chosen.recipe)
        return sum(score.damage[stored[score.site.weight]] for score in chosen.scores)

    eight = weights_size(graph, RECIPES["w8"]) + held_otherwise(graph)
    assert damage(eight * 3) < damage(eight) < damage(eight * 3 // 4)


def test_an_agreement_is_reached_with_fewer_bytes_than_the_best(graph, samples):
    chosen = choose_recipe(graph, samples, Mixture(min_agreement=0.5, formats=LITERT), OFFER)
    assert weights_size(graph, chosen.recipe) < weights_size(graph, RECIPES["w8"])
    assert "calibration inputs held out" in chosen.said


def test_what_cannot_be_reached_is_told_with_what_can(graph, samples):
    with pytest.raises(UsageFault, match=r"\d+ bytes") as caught:
        choose_recipe(
            graph, samples, Mixture(max_bytes=held_otherwise(graph) + 10, formats=LITERT), OFFER
        )
    assert caught.value.remedy


def test_one_sample_is_too_few(graph, samples):
    with pytest.raises(UsageFault, match="with 1 calibration samples"):
        choose_recipe(graph, samples[:1], Mixture(max_bytes=10**6), OFFER)


def test_a_budget_is_asked_for():
    with pytest.raises(UsageFault, match="without a budget"):
        Mixture()
    with pytest.raises(UsageFault, match="agreement of 98"):
        Mixture(min_agreement=98)


@pytest.mark.parametrize("formats", [("litert",), ("coreml",), ("executorch",), tuple(BACKENDS)])
def test_only_what_every_format_can_hold_is_offered(formats):
    offer = Mixture(max_bytes=1, formats=formats).offer()
    assert all(refusal(name, offer) is None for name in formats)
    assert offer.needs_calibration
    assert {"i8", "i4"} <= {storage.dtype for storage in offer.storages}
    assert any(not storage.quantized for storage in offer.storages)


@pytest.mark.parametrize(
    ("formats", "kept"),
    [(("litert",), {"f16"}), (("executorch",), {"f32"}), (("coreml",), {"f32"})],
)
def test_weights_that_stay_float_have_the_bits_that_the_format_gives_them(formats, kept):
    offer = Mixture(max_bytes=1, formats=formats).offer()
    assert {storage.dtype for storage in offer.storages if not storage.quantized} == kept


def test_bytes_are_those_of_the_format_that_needs_most(graph):
    """XNNPACK multiplies floats by integers in pointwise and linear layers only."""
    by_name = {site.weight: site for site in sites(graph)}
    spatial, linear = by_name["tail.0.weight"], by_name["classify.weight"]
    one, both = (Mixture(max_bytes=1, formats=names) for names in (LITERT, tuple(BACKENDS)))
    assert one.size(spatial, I8) == stored_size(spatial, I8)
    assert both.size(spatial, I8) == 4 * spatial.elements
    assert both.size(linear, I8) == one.size(linear, I8) < 4 * linear.elements

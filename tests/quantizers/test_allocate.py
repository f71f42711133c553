import itertools
import json
import math

import numpy as np
import pytest

from headtail.errors import UsageFault
from headtail.strictjson import from_json, to_json
from quantizers.allocate import allocate, explain, mixed, reach, smallest
from quantizers.candidates import Budget, Candidate, Option, candidates_of, stored_size
from quantizers.recipe import RECIPES, Recipe, Storage
from quantizers.sensitivity import Sensitivity
from quantizers.sites import Site, storages

I8, I4, I4B32, P6 = Storage("i8"), Storage("i4"), Storage("i4", 32), Storage("lut6")
CONV = frozenset({"conv"})


def network(count, seed=0, **changes):
    """Weights of random sizes; each bit less does about four times the damage."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        elements, harm = int(rng.integers(500, 50_000)), 10.0 ** rng.uniform(-7, -3)
        options = tuple(
            Option(
                Storage(dtype),
                elements * bits // 8,
                harm * 4.0 ** (8 - bits) * float(rng.uniform(0.5, 2)),
                elements * bits * 1e-6,
            )
            for dtype, bits in (("i8", 8), ("lut6", 6), ("i4", 4))
        )
        made.append(Candidate(f"w{number}", f"block.{number}", CONV, options, **changes))
    return made


def every(candidates):
    return itertools.product(*(candidate.options for candidate in candidates))


def size(options):
    return sum(option.size for option in options)


def damage(options):
    return sum(option.damage for option in options)


@pytest.mark.parametrize("part", [0.55, 0.75, 0.9])
def test_the_least_damage_within_bytes(part):
    weights = network(7)
    most = int(part * size(candidate.options[0] for candidate in weights))
    found = allocate(weights, Budget(size=most))
    fitting = [options for options in every(weights) if size(options) <= most]
    assert found.damage == pytest.approx(min(map(damage, fitting)), rel=1e-5)
    assert found.size <= most


def test_the_fewest_bytes_within_damage():
    weights = network(7)
    most = 0.01
    found = smallest(weights, damage=most)
    assert found.size == min(size(o) for o in every(weights) if damage(o) <= most)
    assert found.damage <= most


def test_bytes_and_time_together():
    weights = [
        Candidate(f"w{i}", f"m{i}", CONV, (Option(I8, 8, 1e-6 * i, 3.0), Option(I4, 4, 1e-4, 5.0)))
        for i in range(1, 5)
    ]  # four bits are smaller here, and slower
    found = allocate(weights, Budget(size=28, ms=14.0))
    assert found.storages == {"w1": I8, "w2": I8, "w3": I8, "w4": I4}
    assert (found.size, found.ms) == (28, 14.0)


def test_one_storage_for_all_does_more_damage_than_the_choice():
    weights = network(30)
    uniform = [candidate.options[1] for candidate in weights]
    found = allocate(weights, Budget(size=size(uniform)))
    assert found.damage < 0.5 * damage(uniform)


def test_three_hundred_weights_are_a_matter_of_seconds():
    weights = network(300)
    most = int(0.7 * size(candidate.options[0] for candidate in weights))
    found = allocate(weights, Budget(size=most))
    assert found.size <= most
    worse = [candidate.options[2] for candidate in weights]
    assert found.damage < damage(worse)


def test_ties_and_modules_share_a_choice():
    first, second, third, fourth = network(4)
    second = Candidate("w1", first.module, CONV, second.options)
    third = Candidate("w2", "x", CONV, third.options, tie="scale")
    fourth = Candidate("w3", "y", CONV, fourth.options, tie="scale")
    weights = [first, second, third, fourth]
    most = int(0.8 * size(candidate.options[0] for candidate in weights))
    found = allocate(weights, Budget(size=most))
    chosen = found.storages
    assert chosen["w0"] == chosen["w1"]
    assert chosen["w2"] == chosen["w3"]
    tied = [
        o for o in every(weights)
        if o[0].storage == o[1].storage and o[2].storage == o[3].storage and size(o) <= most
    ]  # fmt: skip
    assert found.damage == pytest.approx(min(map(damage, tied)), rel=1e-5)


def test_weights_that_share_a_choice_but_no_storage_are_refused():
    weights = [
        Candidate("a", "m", CONV, (Option(I8, 8, 0.1),)),
        Candidate("b", "m", CONV, (Option(I4, 4, 0.1),)),
    ]
    with pytest.raises(UsageFault, match="No storage is offered for all of a, b"):
        allocate(weights, Budget())


def test_a_size_that_cannot_be_reached_names_the_closest():
    weights = network(5)
    least = size(candidate.options[2] for candidate in weights)
    with pytest.raises(UsageFault) as caught:
        allocate(weights, Budget(size=least - 1))
    assert str(caught.value) == (
        f"At most {least - 1} bytes of weights were asked for. The storages offered reach "
        f"{least} bytes of weights at least. Allow {least}, or offer fewer bits for the weights."
    )
    assert allocate(weights, Budget(size=least)).size == least


def test_damage_that_cannot_be_reached_names_the_closest():
    weights = network(5)
    least = damage(min(c.options, key=lambda o: o.damage) for c in weights)
    with pytest.raises(UsageFault, match=f"reach {least:.9g} noise .* offer more bits"):
        smallest(weights, damage=least / 2)


def test_budgets_that_exclude_each_other_say_what_one_takes_with_the_other():
    option = (Option(I8, 8, 0.1, 1.0), Option(I4, 4, 0.2, 2.0))
    weights = [Candidate(name, name, CONV, option) for name in "ab"]
    with pytest.raises(UsageFault) as caught:
        allocate(weights, Budget(size=8, ms=3.0))
    assert str(caught.value) == (
        "At most 8 bytes of weights and 3 ms cannot be had together. With at most 3 ms it takes "
        "at least 12 bytes of weights. Allow that instead of 8 bytes of weights, or offer fewer "
        "bits."
    )
    assert allocate(weights, Budget(size=12, ms=3.0)).size == 12


class Measure:
    """Agreement that falls with damage, and how often it was asked."""

    def __init__(self):
        self.calls = 0

    def __call__(self, allocation):
        self.calls += 1
        return self.of(allocation.damage)

    @staticmethod
    def of(damage):
        return 1.0 / (1.0 + math.sqrt(damage))


def test_agreement_is_reached_with_few_measurements_and_few_bytes():
    weights, measure = network(40), Measure()
    found, reached = reach(iter(weights), measure, agreement=0.8, evaluations=8)
    assert measure.calls <= 8
    assert reached == Measure.of(found.damage) >= 0.8
    least = smallest(weights, damage=(1 / 0.8 - 1) ** 2)  # what the inverse of it allows
    assert least.size <= found.size <= 1.01 * least.size


def test_agreement_costs_two_measurements_where_the_smallest_has_it():
    weights, measure = network(10), Measure()
    found, _ = reach(weights, measure, agreement=0.1)
    assert measure.calls == 2
    assert found.size == size(candidate.options[2] for candidate in weights)


def test_agreement_keeps_to_the_bytes_allowed():
    weights = network(10)
    most = int(0.8 * size(candidate.options[0] for candidate in weights))
    found, _ = reach(weights, Measure(), agreement=0.5, budget=Budget(size=most))
    assert found.size <= most


def test_agreement_that_cannot_be_reached_says_how_much_can():
    weights, measure = network(10), Measure()
    with pytest.raises(UsageFault, match=r"agreement of 0\.999 was asked for; with the least"):
        reach(weights, measure, agreement=0.999)
    assert measure.calls == 1


SITES = [
    Site("stem.weight", ("c0",), "stem", frozenset({"conv", "stem"}), (16, 3, 3, 3)),
    Site("b.0.weight", ("c1",), "b.0", frozenset({"conv", "depthwise"}), (16, 1, 3, 3), 16),
    Site("b.1.weight", ("c2",), "b.1", CONV, (64, 16, 1, 1)),
    Site("odd[x].weight", ("c3",), "odd[x]", frozenset({"linear"}), (10, 64)),
]


@pytest.mark.parametrize("base", ["w8", "w4", "p4", "w8a8"])
def test_the_recipe_stores_every_weight_as_chosen(base):
    scores = [
        Sensitivity(site, {I8: 1e-5, P6: 1e-4 * (1 + i), I4: 1e-3 / (1 + i)})
        for i, site in enumerate(SITES)
    ]
    candidates = candidates_of(scores)
    found = allocate(candidates, Budget(size=int(0.6 * sum(s.elements for s in SITES)) + 500))
    assert len(set(found.storages.values())) > 1
    made = mixed(found, RECIPES[base])
    assert storages(SITES, made) == found.storages
    assert (made.name, made.activations) == ("mixed", RECIPES[base].activations)
    assert from_json(Recipe, json.loads(json.dumps(to_json(made)))) == made
    said = [rule.match for rule in made.rules[len(RECIPES[base].rules) :]]
    unlike = [
        site for site in SITES
        if RECIPES[base].storage_of(site.module, site.kinds) != found.storages[site.weight]
    ]  # fmt: skip
    assert len(said) == len(unlike)


def test_bytes_of_a_weight():
    site = SITES[2]
    assert stored_size(site, Storage("f16")) == 2048
    assert stored_size(site, I8) == 1024 + 4 * 64
    assert stored_size(site, Storage("i4", 8)) == 512 + 4 * 64 * 2
    assert stored_size(site, P6) == 768 + 2 * 64
    assert stored_size(Site("w", ("n",), "m", CONV, (3, 1)), I4) == 2 + 4 * 3


def test_what_was_chosen_and_why():
    options = (Option(I8, 800, 1e-6), Option(P6, 600, 1e-5), Option(I4, 400, 1.01e-3))
    weights = [
        Candidate("a", "m", CONV, options),
        Candidate("b", "n", CONV, (Option(I8, 100, 0.0),)),
    ]
    first, second = explain(allocate(weights, Budget(size=700)))
    assert (first.storage, first.size, first.damage) == ("lut6", 600, 1e-5)
    assert first.why == (
        "i4 would save 200 bytes for 0.001 of damage (5e-06 a byte); "
        "i8 would spare 9e-06 of damage for 200 bytes (4.5e-08 a byte)"
    )
    assert second.why == "nothing smaller or better was offered"

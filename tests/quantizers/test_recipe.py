import pytest
from hypothesis import given
from hypothesis import strategies as st

from headtail.errors import UnknownName, UsageFault
from headtail.strictjson import from_json, to_json
from quantizers.recipe import DEFAULTS, KINDS, RECIPES, WEIGHTS, Recipe, Rule, Storage, recipe


def test_the_names_decode():
    assert (recipe("w8").storage, recipe("w8").activations) == (Storage("i8"), "f32")
    assert (recipe("w8a8").storage, recipe("w8a8").activations) == (Storage("i8"), "i8")
    assert recipe("w4b32").storage == Storage("i4", 32)
    assert recipe("p6").storage.palette
    assert recipe("p6").storage.bits == 6
    assert recipe("w8a8d").activation_mode == "dynamic"
    assert set(DEFAULTS) <= set(RECIPES)


def test_static_activations_and_weights_of_few_bits_need_calibration():
    needed = [name for name in RECIPES if recipe(name).needs_calibration]
    assert needed == ["w8a8", "w8a16", "w4", "w4b32", "p6", "p4"]


def test_an_unknown_name_lists_what_exists_and_guesses():
    with pytest.raises(UnknownName, match="Did you mean 'w8a8") as caught:
        recipe("w8a")
    assert caught.value.known == tuple(sorted(RECIPES))


def test_the_last_rule_that_applies_wins():
    tender = Rule("*", ("depthwise",), "i8")
    named = Rule("features.1.*", (), "f32")
    mixed = Recipe("mixed", "i4", block=32, rules=(tender, named))
    assert mixed.storage_of("features.3.conv", frozenset({"conv"})) == Storage("i4", 32)
    assert mixed.storage_of("features.3.conv", frozenset({"conv", "depthwise"})) == Storage("i8")
    assert mixed.storage_of("features.1.conv", frozenset({"depthwise"})) == Storage("f32")
    assert mixed.storages == (Storage("i4", 32), Storage("i8"), Storage("f32"))
    assert mixed.quantizes
    assert not recipe("fp16").quantizes


@pytest.mark.parametrize(
    ("made", "error", "said"),
    [
        (lambda: Rule("*", ("convolution",)), UnknownName, "Did you mean|Known: conv"),
        (lambda: Rule("*", (), "int8"), UnknownName, "dtype of weights"),
        (lambda: Recipe("x", "lut4", block=32), UsageFault, "Blocks of 32 .* of lut4"),
        (lambda: Recipe("x", "i8", block=-1), UsageFault, "Blocks of -1"),
        (lambda: Recipe("x", "i8", "int8"), UnknownName, "dtype of activations"),
        (lambda: Recipe("x", "i8", "i8", "sometimes"), UnknownName, "mode of activations"),
    ],
)
def test_what_it_cannot_mean_is_refused(made, error, said):
    with pytest.raises(error, match=said):
        made()


rules = st.builds(
    Rule,
    st.text("abc.*?[]", min_size=1),
    st.lists(st.sampled_from(KINDS)).map(tuple),
    st.sampled_from(sorted(WEIGHTS)),
)


@given(st.sampled_from(sorted(RECIPES)), st.lists(rules, max_size=4))
def test_json_gives_the_same_recipe_back(name, more):
    known = recipe(name)
    made = Recipe("x", known.weights, known.activations, known.activation_mode, 0, tuple(more))
    assert from_json(Recipe, to_json(made)) == made

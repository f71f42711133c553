import pytest

from headtail.errors import UnknownName
from quantizers.recipe import RECIPES, recipe


def test_the_names_decode():
    assert list(RECIPES) == ["fp32", "fp16", "w8", "w8a8"]
    assert (recipe("w8").weights, recipe("w8").activations) == ("i8", "f32")
    assert (recipe("w8a8").weights, recipe("w8a8").activations) == ("i8", "i8")
    assert recipe("w8").weight_granularity == recipe("w8a8").weight_granularity == "channel"


def test_only_static_activations_need_calibration():
    assert [name for name in RECIPES if recipe(name).needs_calibration] == ["w8a8"]


def test_an_unknown_name_lists_what_exists_and_guesses():
    with pytest.raises(UnknownName, match="Did you mean 'w8a8'") as caught:
        recipe("w8a")
    assert caught.value.known == ("fp16", "fp32", "w8", "w8a8")

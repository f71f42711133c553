"""Recipes of one's own: read with defaults, or refused with what is wrong and how it should be."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headtail.errors import UsageFault
from headtail.strictjson import to_json
from quantizers.recipe import RECIPES, WEIGHTS, Recipe, Rule
from quantizers.recipe_file import read_recipe


def written(folder, text):
    path = folder / "mine.json"
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return path


def test_what_is_left_out_has_its_default(tmp_path):
    said = {
        "name": "mine",
        "weights": "i8",
        "rules": [{"match": "head.*", "ops": ["conv"], "weights": "i4", "block": 32}],
    }
    assert read_recipe(written(tmp_path, said)) == Recipe(
        "mine", "i8", rules=(Rule("head.*", ("conv",), "i4", 32),)
    )


@given(
    weights=st.sampled_from([name for name in WEIGHTS if name[0] in "il"]),
    rules=st.lists(st.builds(Rule, st.text(max_size=8), weights=st.sampled_from(list(WEIGHTS)))),
)
def test_what_a_recipe_says_as_json_is_that_recipe(tmp_path_factory, weights, rules):
    meant = Recipe("mine", weights, rules=tuple(rules))
    assert read_recipe(written(tmp_path_factory.mktemp("r"), to_json(meant))) == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "Not JSON"),
        ("[]", "Expected an object"),
        ({"weights": "i8"}, "Missing key 'name'"),
        ({"name": "mine", "weight": "i8"}, "Unknown key 'weight'"),
        ({"name": "mine", "weights": "int8"}, "Unknown dtype of weights 'int8'"),
        ({"name": "mine", "weights": "i8", "rules": {}}, r"list, got dict @ \$.rules"),
        ({"name": "mine", "weights": "i8", "rules": [{"weights": "i4"}]}, "Missing key 'match'"),
        ({"name": "mine", "weights": "i8", "rules": [{"match": "*", "ops": ["cnv"]}]}, "'cnv'"),
        ({"name": "Mine!", "weights": "i8"}, "not 1 to 32 of a-z"),
        ({"name": "../w", "weights": "i8"}, "not 1 to 32 of a-z"),
        ({"name": "w8", "weights": "i8"}, "is taken"),
        ({"name": "mixed", "weights": "i8"}, "is taken"),
        ({"name": "mine", "weights": "f16"}, "quantizes no weight"),
        (" " * (1 << 21), "more than 1048576 bytes"),
    ],
)
def test_what_is_no_recipe_is_refused(tmp_path, text, said):
    path = written(tmp_path, text)
    with pytest.raises(UsageFault, match=said) as caught:
        read_recipe(path)
    assert str(path) in caught.value.what
    assert caught.value.remedy


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(UsageFault, match="cannot be read"):
        read_recipe(tmp_path / "none.json")


def test_presets_can_be_written_down_but_not_replaced(tmp_path):
    for preset in RECIPES.values():
        with pytest.raises(UsageFault, match="is taken"):
            read_recipe(written(tmp_path, to_json(preset)))

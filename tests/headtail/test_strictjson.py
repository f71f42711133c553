"""JSON in and out: exact round trips, and every way of not fitting the schema named by its path."""

import json
import math
from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headtail.errors import SchemaFault, UnknownName
from headtail.strictjson import MAX_DEPTH, MAX_WHOLE, canonical_bytes, from_json, parse, to_json


@dataclass(frozen=True)
class Leaf:
    word: str
    whole: int
    real: float
    flag: bool

    def __post_init__(self):
        if self.word == "forbidden":
            raise UnknownName("word", self.word, ("allowed",))


@dataclass(frozen=True)
class Tree:
    leaves: tuple[Leaf, ...]
    named: dict[str, Leaf]
    counts: dict[str, int]
    shape: tuple[int, ...]
    perhaps: float | None
    child: Leaf | None


words = st.text(st.characters(exclude_categories=["Cs"])).filter(lambda word: word != "forbidden")
wholes = st.integers(-(10**40), 10**40)
reals = st.floats(allow_nan=False, allow_infinity=False)
leaves = st.builds(Leaf, word=words, whole=wholes, real=reals, flag=st.booleans())
trees = st.builds(
    Tree,
    leaves=st.lists(leaves, max_size=3).map(tuple),
    named=st.dictionaries(words, leaves, max_size=3),
    counts=st.dictionaries(words, wholes, max_size=3),
    shape=st.lists(wholes, max_size=4).map(tuple),
    perhaps=st.none() | reals,
    child=st.none() | leaves,
)
LEAF = Leaf("a", 1, 2.5, True)
TREE = Tree((LEAF, LEAF), {"x": LEAF}, {"n": 3}, (1, 2), None, LEAF)


@settings(deadline=None, max_examples=60)
@given(trees)
def test_a_round_trip_keeps_value_and_bytes(tree):
    data = canonical_bytes(tree)
    again = from_json(Tree, parse(data))
    assert again == tree
    assert canonical_bytes(again) == data
    assert canonical_bytes(parse(data)) == data


def test_canonical_bytes_are_these():
    assert canonical_bytes(Leaf("ä\n", 7, 0.1, False)) == (
        b'{"flag":false,"real":0.1,"whole":7,"word":"\xc3\xa4\\n"}'
    )
    assert canonical_bytes({"b": (1, 2.0), "a": None}) == b'{"a":null,"b":[1,2.0]}'


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_has_no_bytes(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_bytes({"x": [value]})


def replaced(change):
    value = to_json(TREE)
    change(value)
    return value


CASES = {
    "unknown": (lambda v: v.update(more=1), "Unknown key 'more' @ $."),
    "unknown deep": (
        lambda v: v["leaves"][1].update(more=1),
        "Unknown key 'more' @ $.leaves[1].",
    ),
    "unknown in a dict": (
        lambda v: v["named"]["x"].update(more=1),
        "Unknown key 'more' @ $.named.x.",
    ),
    "missing": (lambda v: v.pop("shape"), "Missing key 'shape' @ $."),
    "missing deep": (lambda v: v["child"].pop("flag"), "Missing key 'flag' @ $.child."),
    "not an object": (lambda v: v.update(child=3), "Expected an object, got int @ $.child."),
    "not a dict": (lambda v: v.update(counts=[]), "Expected an object, got list @ $.counts."),
    "not a list": (lambda v: v.update(shape="12"), "Expected a list, got str @ $.shape."),
    "list of another kind": (
        lambda v: v.update(shape=[1, "2"]),
        "Expected an integer, got '2' @ $.shape[1].",
    ),
    "float for integer": (
        lambda v: v["counts"].update(n=3.0),
        "Expected an integer, got 3.0 @ $.counts.n.",
    ),
    "boolean for integer": (
        lambda v: v["child"].update(whole=True),
        "Expected an integer, got True @ $.child.whole.",
    ),
    "boolean for number": (
        lambda v: v["child"].update(real=False),
        "Expected a number, got False @ $.child.real.",
    ),
    "integer for boolean": (
        lambda v: v["child"].update(flag=1),
        "Expected a boolean, got 1 @ $.child.flag.",
    ),
    "null where nothing may be": (
        lambda v: v["child"].update(word=None),
        "Expected a string, got None @ $.child.word.",
    ),
    "infinity": (
        lambda v: v.update(perhaps=math.inf),
        "Expected a number, got inf @ $.perhaps.",
    ),
    "not a number": (
        lambda v: v.update(perhaps=math.nan),
        "Expected a number, got nan @ $.perhaps.",
    ),
    "an integer no float equals": (
        lambda v: v.update(perhaps=MAX_WHOLE + 1),
        "Expected a number, got 9007199254740993 @ $.perhaps.",
    ),
    "a rule of the class": (
        lambda v: v["leaves"][0].update(word="forbidden"),
        "Unknown word 'forbidden' @ $.leaves[0].",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_refused_with_its_place(case):
    change, sentence = CASES[case]
    with pytest.raises(SchemaFault) as caught:
        from_json(Tree, replaced(change))
    assert caught.value.what == sentence
    assert sentence.endswith(f"@ {caught.value.path}.")


def test_the_path_starts_where_the_caller_says():
    with pytest.raises(SchemaFault, match=r"Missing key 'flag' @ \$\.files\[2\]\."):
        from_json(Leaf, {"word": "", "whole": 1, "real": 1.0}, path="$.files[2]")


def test_a_rule_of_the_class_keeps_its_remedy():
    with pytest.raises(SchemaFault) as caught:
        from_json(Leaf, {**to_json(LEAF), "word": "forbidden"})
    assert "Known: allowed." in caught.value.remedy


def test_a_whole_number_is_a_number():
    leaf = from_json(Leaf, {"word": "", "whole": 10**30, "real": MAX_WHOLE, "flag": True})
    assert (leaf.real, type(leaf.real)) == (float(MAX_WHOLE), float)
    assert leaf.whole == 10**30


def test_a_wrong_value_is_shown_short():
    for value in ("x" * 100_000, [1] * 100_000, {"k" * 100_000: 1}):
        with pytest.raises(SchemaFault) as caught:
            from_json(Leaf, {**to_json(LEAF), "whole": value})
        assert len(caught.value.what) < 300
    with pytest.raises(SchemaFault) as caught:
        from_json(Leaf, {**to_json(LEAF), "k" * 100_000: 1})
    assert len(caught.value.what) < 300


NOT_JSON = {
    "duplicate key": (b'{"a":1,"b":{"c":1,"c":1}}', "Key 'c' appears twice"),
    "duplicate by escape": (b'{"a":1,"\\u0061":2}', "Key 'a' appears twice"),
    "NaN": (b'{"a":NaN}', "NaN is not a JSON number"),
    "infinity": (b"[Infinity]", "Infinity is not a JSON number"),
    "minus infinity": (b"[-Infinity]", "-Infinity is not a JSON number"),
    "nothing": (b"", "Not JSON"),
    "cut short": (b'{"a":[1,2', "Not JSON"),
    "two documents": (b"{}{}", "Not JSON"),
    "not UTF-8": (b'"\xff"', "Not JSON"),
    "UTF-16": ('{"a":1}'.encode("utf-16"), "Not JSON"),
    "byte order mark": (b"\xef\xbb\xbf{}", "Not JSON"),
    "comment": (b"{} // no", "Not JSON"),
    "trailing comma": (b"[1,]", "Not JSON"),
    "control character": (b'"\n"', "Not JSON"),
    "5000 digits": (b"7" * 5000, "Not JSON"),
}


@pytest.mark.parametrize("case", NOT_JSON)
def test_what_is_not_json(case):
    data, words = NOT_JSON[case]
    with pytest.raises(SchemaFault) as caught:
        parse(data, path="$.where")
    assert caught.value.what.startswith(words)
    assert caught.value.what.endswith("@ $.where.")


def slow_depth(data):
    """The definition of nesting, a byte at a time: brackets outside strings."""
    depth = deepest = 0
    in_string = escaped = False
    for byte in data:
        if in_string:
            in_string = escaped or byte != 0x22
            escaped = not escaped and byte == 0x5C
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def refused_depth(data):
    """What `parse` says about the nesting, None if it does not object to it."""
    try:
        parse(data)
    except SchemaFault as error:
        if error.what.startswith("Nested "):
            return int(error.what.split()[1])
    return None


# many brackets, few closing ones, strings that hide some, escapes that end strings or do not
pieces = st.sampled_from([b"[" * 9, b"{", b"[", b"]", b"}", b'"', b'\\"', b"\\", b"\\\\", b"\n"])
soups = st.lists(pieces | st.binary(max_size=3), max_size=60).map(b"".join)


@settings(deadline=None, max_examples=400)
@given(soups)
@example(b"[" * 33 + b'"\\')
@example(b"[" * 33 + b'"' + b"[" * 9)
@example(b'"' + b"[" * 40 + b'\\"' + b"[" * 40)
@example(b"]" * 40 + b"[" * 72)
@example(b'"\\\n"' + b"[" * 33)
@example(b'\\"' + b"[" * 40)
def test_depth_is_as_strict_as_its_definition(data):
    deepest = slow_depth(data)
    assert refused_depth(data) == (deepest if deepest > MAX_DEPTH else None)


@pytest.mark.parametrize("pair", [(b"[", b"]"), (b'{"a":', b"}")])
def test_the_limit_is_exact(pair):
    opening, closing = pair
    depth = MAX_DEPTH
    parse(opening * depth + b"1" + closing * depth)
    with pytest.raises(SchemaFault, match=f"Nested {depth + 1} levels deep, limit {depth}"):
        parse(opening * (depth + 1) + b"1" + closing * (depth + 1))


@pytest.mark.parametrize("data", [b"[" * 5_000_000, b'["\\' * 1_000_000, b'"' + b"\\" * 5_000_000])
def test_megabytes_of_attack_end_in_one_error(data):
    with pytest.raises(SchemaFault) as caught:
        parse(data)
    assert len(str(caught.value)) < 1000


def test_brackets_in_strings_are_text():
    value = {"a": "[" * 1000, "b\\": ['"' + "{" * 1000]}
    assert parse(json.dumps(value).encode()) == value


@pytest.mark.parametrize("text", [b'"\\ud800"', b'{"\\uDFFF":1}', b'["\\udc00\\ud800"]'])
def test_attack_half_of_a_surrogate_pair_is_no_text(text):
    """It has no UTF-8, so it could neither be written again nor drawn on a screen."""
    with pytest.raises(SchemaFault, match="Not JSON"):
        parse(text)


def test_a_whole_surrogate_pair_is_a_letter():
    assert parse(b'"\\ud83d\\ude00 \\\\ud800"') == "\U0001f600 \\ud800"

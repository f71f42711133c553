"""The tree of errors is the one its docstring draws; each error is three sentences."""

import inspect
import re

import pytest

from headtail import errors
from headtail.errors import (
    BundleMismatch,
    ConversionFailed,
    HeadtailError,
    IntegrityFault,
    MissingDependency,
    SchemaFault,
    UnknownName,
    UsageFault,
)

CLASSES = {name: getattr(errors, name) for name in errors.__all__}
LINE = re.compile(r"(?P<branch>[│├└─ ]*)(?P<name>[A-Z]\w+) +(?P<exit>\d) +(?P<http>\d{3}|-) +\S")
STEP = 4  # characters of the drawing per level
THREE = {"expected": "It was expected.", "remedy": "Do something."}
SAMPLES = {
    **{
        name: cls("It went wrong.", **THREE)
        for name, cls in CLASSES.items()
        if cls.__init__ is HeadtailError.__init__
    },
    "BundleMismatch": BundleMismatch("It is another.", held={"a": ["b"]}, **THREE),
    "ConversionFailed": ConversionFailed("It failed.", log="last line", **THREE),
    "IntegrityFault": IntegrityFault("It changed.", file="a.bin", **THREE),
    "MissingDependency": MissingDependency("zstd", needed_for="zstd frames", install="pip x."),
    "SchemaFault": SchemaFault("Missing key 'a'", "$.b[0]", remedy="Write it."),
    "UnknownName": UnknownName("codec", "raw23", ("raw32", "raw16")),
}


def drawn():
    """(name, name of its parent, exit code, HTTP status or None) of each line of the drawing."""
    rows, branch = [], ["HeadtailError"]
    for line in (inspect.getdoc(errors) or "").splitlines():
        if found := LINE.match(line.strip("\n").removeprefix("    ")):
            depth = len(found["branch"]) // STEP
            assert depth <= len(branch)
            branch[depth:] = [found["name"]]
            http = None if found["http"] == "-" else int(found["http"])
            rows.append((found["name"], branch[depth - 1], int(found["exit"]), http))
    return rows


def test_the_drawing_is_the_tree():
    """Indented under its parent as in Python, with the same exit code and HTTP status."""
    rows = drawn()
    assert {name for name, *_ in rows} | {"HeadtailError"} == set(CLASSES)
    assert len(rows) == len(CLASSES) - 1
    for name, parent, exit_code, http in rows:
        cls = CLASSES[name]
        assert cls.__bases__ == (CLASSES.get(parent, HeadtailError),), name
        assert cls.exit_code == exit_code, name
        assert http is None or cls.http_status == http, name


def test_every_class_of_the_module_is_public():
    found = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, BaseException)
    }
    assert found == set(CLASSES)
    assert set(SAMPLES) == set(CLASSES)


@pytest.mark.parametrize("name", SAMPLES)
def test_three_sentences(name):
    error = SAMPLES[name]
    parts = [error.what, error.expected, error.remedy]
    assert str(error) == " ".join(parts)
    for part in parts:
        assert part[0].isupper() or part[0].isdigit() or part.startswith("zstd")
        assert part[-1] in ".?"


@pytest.mark.parametrize("name", SAMPLES)
def test_the_same_for_machines(name):
    error = SAMPLES[name]
    assert error.to_json() == {
        "error": name,
        "what": error.what,
        "expected": error.expected,
        "remedy": error.remedy,
        "exit_code": error.exit_code,
    }
    assert error.exit_code in (1, 2, 3)
    assert 400 <= error.http_status < 600


def test_an_unknown_name_says_what_is_near():
    error = UnknownName("codec", "raw23", iter(("raw32", "raw16")))
    assert error.known == ("raw16", "raw32")
    assert str(error) == "Unknown codec 'raw23'. Known: raw16, raw32. Did you mean 'raw32'?"


def test_an_unknown_name_with_nothing_near_or_nothing_known():
    assert UnknownName("codec", "zzz", ("raw32",)).remedy == "Use one of the known codec names."
    assert UnknownName("cut", "a", ()).expected == "Known: (none)."


def test_what_the_special_ones_carry():
    assert SAMPLES["IntegrityFault"].file == "a.bin"
    assert SAMPLES["BundleMismatch"].held == {"a": ["b"]}
    assert SAMPLES["ConversionFailed"].log == "last line"
    assert ConversionFailed("It failed.", **THREE).log == ""
    assert SAMPLES["SchemaFault"].path == "$.b[0]"
    assert SAMPLES["SchemaFault"].what == "Missing key 'a' @ $.b[0]."
    assert SAMPLES["MissingDependency"].package == "zstd"


def test_a_usage_fault_is_caught_by_its_family():
    with pytest.raises(UsageFault):
        raise SAMPLES["UnknownName"]

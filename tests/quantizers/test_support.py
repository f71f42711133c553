import subprocess
import sys

import pytest

from headtail.errors import UnknownName, UsageFault
from quantizers import support
from quantizers.recipe import RECIPES, recipe

PROBE = """
import importlib, pkgutil, sys
import quantizers
for module in pkgutil.iter_modules(quantizers.__path__):
    importlib.import_module("quantizers." + module.name)
{extra}
heavy = {{"torch", "coremltools", "executorch", "ai_edge_quantizer", "ai_edge_litert", "torchao",
         "flatbuffers", "PIL"}}
print(sorted(heavy & set(sys.modules)))
"""


def test_the_matrix():
    assert support.matrix() == {
        "coreml": ["fp32", "fp16", "w8", "w8a8", "w4", "w4b32", "p6", "p4"],
        "executorch": ["fp32", "w8", "w8a8", "w8a8d", "w4"],
        "litert": ["fp32", "fp16", "w8", "w8a8", "w8a8d", "w8a16", "w4"],
    }


def test_what_is_honoured_passes():
    for name, recipes in support.matrix().items():
        for asked in recipes:
            support.require(name, recipe(asked))


def test_a_refusal_names_who_can_and_what_this_format_can():
    with pytest.raises(UsageFault) as caught:
        support.require("executorch", recipe("p4"))
    assert str(caught.value) == (
        "executorch cannot honour p4: XNNPACK has no kernels for weights of lut4. "
        "p4 is honoured by: coreml. For executorch choose one of fp32, w8, w8a8, w8a8d, w4."
    )


INTO_TABLES = "its files have no weights as indices into a table"
NO_KERNELS = "XNNPACK has no kernels for weights of"
# (format, recipe) -> why not, and who can: every pair that is not in the matrix
REFUSED = {
    ("coreml", "w8a8d"): ("no operator that takes ranges at run time", "executorch, litert"),
    ("coreml", "w8a16"): ("quantizes activations to i8, not to i16", "litert"),
    ("executorch", "fp16"): ("stores the kernels of half-precision convolutions", "coreml, litert"),
    ("executorch", "w8a16"): ("no static kernels for activations of i16", "litert"),
    ("executorch", "w4b32"): (f"{NO_KERNELS} i4 in blocks of 32", "coreml"),
    ("executorch", "p6"): (f"{NO_KERNELS} lut6", "coreml"),
    ("executorch", "p4"): (f"{NO_KERNELS} lut4", "coreml"),
    ("litert", "w4b32"): ("takes scales per block only in a matrix product", "coreml"),
    ("litert", "p6"): (INTO_TABLES, "coreml"),
    ("litert", "p4"): (INTO_TABLES, "coreml"),
}


def test_every_refusal_is_tested():
    pairs = {
        (f, name) for f, can in support.matrix().items() for name in RECIPES if name not in can
    }
    assert set(REFUSED) == pairs


@pytest.mark.parametrize("pair", REFUSED, ids="-".join)
def test_a_refusal_says_why_and_who_can(pair):
    reason, can = REFUSED[pair]
    with pytest.raises(UsageFault) as caught:
        support.require(pair[0], recipe(pair[1]))
    assert caught.value.what.startswith(f"{pair[0]} cannot honour {pair[1]}: ")
    assert reason in caught.value.what
    assert caught.value.expected == f"{pair[1]} is honoured by: {can}."


def test_what_is_slow_is_said_beforehand():
    said = {
        (f, name): support.remark(f, RECIPES[name])
        for f, can in support.matrix().items()
        for name in can
    }
    assert {pair for pair, text in said.items() if text} == {
        ("executorch", "w8"), ("executorch", "w4"),
        ("litert", "w4"), ("litert", "w8a16"), ("litert", "w8a8d"),
    }  # fmt: skip
    assert "2.4 times the float time" in str(said["litert", "w4"])
    assert support.remark("coreml", RECIPES["w8a16"]) is None  # refused: nothing to add


def test_what_a_formats_own_tool_cannot_round_needs_a_plan():
    needed = {
        f: [r for r in can if support.needs_plan(f, RECIPES[r])]
        for f, can in support.matrix().items()
    }
    assert needed == {
        "coreml": ["w8a8", "w4", "w4b32", "p6", "p4"],
        "executorch": ["w4"],
        "litert": ["w4"],
    }


def test_an_unknown_format_lists_the_formats():
    with pytest.raises(UnknownName, match=r"Known: coreml, executorch, litert\. Did you mean"):
        support.supported("litrt")


def loaded(extra: str) -> str:
    """Heavy modules in a fresh interpreter after every module of the package was imported."""
    command = [sys.executable, "-c", PROBE.format(extra=extra)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_importing_every_module_imports_no_heavy_library():
    assert loaded("") == "[]"


def test_the_probe_can_fail():
    assert loaded("import flatbuffers") == "['flatbuffers']"

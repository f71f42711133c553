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

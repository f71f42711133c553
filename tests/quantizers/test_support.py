import subprocess
import sys

import pytest

from headtail.errors import UnknownName, UsageFault
from quantizers import support
from quantizers.recipe import recipe

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
        "coreml": ["fp32", "fp16", "w8"],
        "executorch": ["fp32", "w8a8"],
        "litert": ["fp32", "fp16", "w8", "w8a8"],
    }


def test_what_is_honoured_passes():
    for name, recipes in support.matrix().items():
        for asked in recipes:
            support.require(name, recipe(asked))


def test_a_refusal_names_who_can_and_what_this_format_can():
    with pytest.raises(UsageFault) as caught:
        support.require("executorch", recipe("w8"))
    assert str(caught.value) == (
        "executorch cannot honour w8. w8 is honoured by: coreml, litert. "
        "For executorch choose one of fp32, w8a8."
    )


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

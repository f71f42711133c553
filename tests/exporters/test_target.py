"""The table of formats: every row is complete, and naming a format imports no converter."""

import importlib.util
import subprocess
import sys

import pytest

from exporters.target import TARGETS, target
from headtail.errors import UnknownName
from quantizers.support import supported


@pytest.mark.parametrize("name", TARGETS)
def test_a_row_is_complete(name):
    row = target(name)
    assert row.format == name
    assert row.suffix.isalpha()
    assert row.minimum_runtime
    assert importlib.util.find_spec(row.module) is not None
    assert "fp32" in supported(name)


def test_suffixes_tell_formats_apart():
    assert len({row.suffix for row in TARGETS.values()}) == len(TARGETS)


def test_every_exact_gate_is_far_over_quantization_noise():
    assert all(row.fp32_gate_db >= 85 for row in TARGETS.values())


def test_an_unknown_format_lists_what_exists():
    with pytest.raises(UnknownName, match=r"'onnx'. Known: coreml, executorch, litert"):
        target("onnx")


PROBE = """
import sys
from exporters.target import target
{more}
heavy = {{"torch", "coremltools", "litert_torch", "executorch", "tensorflow"}} & set(sys.modules)
sys.exit(f"imported {{heavy}}" if heavy else 0)
"""


@pytest.mark.parametrize(("more", "code"), [("target('litert')", 0), ("import torch", 1)])
def test_naming_a_format_imports_nothing_heavy(more, code):
    """The second row shows that the probe can fail."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(more=more)], check=False, capture_output=True
    )
    assert done.returncode == code, done.stderr

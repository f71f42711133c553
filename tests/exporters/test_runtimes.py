"""Every format has a runtime that proves it, and its times are called what they are."""

import pytest

from exporters.runtimes import runtime_for
from exporters.target import TARGETS
from headtail.errors import UnknownName


@pytest.mark.parametrize(
    ("name", "kind"), [("litert", "host"), ("executorch", "host"), ("coreml", "emulated")]
)
def test_a_format_has_its_runtime(name, kind):
    runtime = runtime_for(name)
    assert (runtime.format, runtime.timing_kind) == (name, kind)
    assert runtime.probe().available


def test_the_table_is_complete():
    for name in TARGETS:
        assert runtime_for(name).format == name


def test_an_unknown_format_lists_what_exists():
    with pytest.raises(UnknownName, match=r"'onnx'. Known: coreml, executorch, litert"):
        runtime_for("onnx")

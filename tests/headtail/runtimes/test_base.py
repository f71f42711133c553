"""The table of runtimes, what a session says about its entry points, and what needs no library."""

import pytest

from headtail.errors import TensorMismatch, UnknownName
from headtail.runtimes import Capability, desk_runtimes, runtime_of
from headtail.runtimes.base import check_counts, closed_session
from headtail.timing import TIMING_KINDS


def test_runtimes_are_found_by_format():
    for name, runtime in desk_runtimes().items():
        assert runtime.format == name
        assert runtime_of(name).name == runtime.name
        assert runtime.timing_kind in TIMING_KINDS


def test_an_unknown_format_lists_what_exists():
    with pytest.raises(UnknownName, match=r"'onnx'. Known: executorch, litert"):
        runtime_of("onnx")


def test_core_ml_is_not_a_desk_runtime():
    """The reference interpreter needs torch: the exporters add it to the table."""
    with pytest.raises(UnknownName):
        runtime_of("coreml")


def test_a_probe_never_raises():
    for runtime in desk_runtimes().values():
        capability = runtime.probe()
        assert isinstance(capability, Capability)
        assert bool(capability.version) == capability.available
        assert bool(capability.reason) != capability.available


@pytest.mark.parametrize(
    ("held", "words"), [(((1,), (1, 2)), "has 1 inputs.*2"), (((1, 2), ()), "has 0 outputs.*2")]
)
def test_counts_that_do_not_fit_are_told(held, words):
    check_counts("net.pte, forward", ((1, 2), (1, 2)), ((3, 4), (5, 6)))
    with pytest.raises(TensorMismatch, match=rf"net\.pte, forward {words}"):
        check_counts("net.pte, forward", held, ((3, 4), (5, 6)))


def test_a_closed_session_says_so():
    assert "net.tflite is closed" in str(closed_session("net.tflite"))

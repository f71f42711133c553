"""The table of runtimes, what a session says about its entry points, and what needs no library."""

import numpy as np
import pytest

from headtail.errors import TensorMismatch, UnknownName
from headtail.runtimes import Capability, desk_runtimes, runtime_of
from headtail.runtimes.base import check_accelerator, check_counts, closed_session
from headtail.runtimes.memory import growth_since, resident_bytes
from headtail.timing import TIMING_KINDS
from tests.support.capabilities import require


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


def test_runtimes_have_names_of_their_own():
    runtimes = list(desk_runtimes().values())
    assert len({runtime.name for runtime in runtimes}) == len(runtimes)


def test_an_accelerator_that_is_not_listed_is_refused():
    for runtime in desk_runtimes().values():
        check_accelerator(runtime, "cpu")
        with pytest.raises(UnknownName, match=rf"accelerator of {runtime.name} 'gpu'.*Known: cpu"):
            check_accelerator(runtime, "gpu")


def test_memory_that_was_touched_is_seen():
    before = resident_bytes()
    require(before is not None, "this system has no /proc/self/statm")
    block = np.ones(64 << 20, np.uint8)
    grown = growth_since(before)
    assert grown is not None
    assert 0.9 * block.nbytes < grown < 1.5 * block.nbytes


def test_without_a_first_reading_there_is_no_growth():
    assert growth_since(None) is None

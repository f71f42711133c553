"""LiteRT on a desk: real files through the real runtime."""

import importlib.util

import numpy as np
import pytest

from headtail.errors import RuntimeUnavailable
from headtail.metrics import snr_db
from headtail.runtimes.litert_desk import LiteRTDesk
from tests.headtail.runtimes import session_contract as contract

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("check", contract.CHECKS)
def test_the_session_keeps_the_contract(ordered_litert, check):
    check(LiteRTDesk(), ordered_litert)


def test_broken_files_are_named(ordered_litert, tmp_path):
    contract.check_broken_files(LiteRTDesk(), ordered_litert, tmp_path)


def test_a_missing_package_is_told_with_its_remedy(ordered_litert, monkeypatch):
    real = importlib.util.find_spec
    absent = "ai_edge_litert"
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == absent else real(name, *rest),
    )
    assert "pip install 'headtail[export]'" in LiteRTDesk().probe().reason
    with pytest.raises(RuntimeUnavailable, match=r"is not installed.*pip install"):
        LiteRTDesk().load(ordered_litert.path, entries=ordered_litert.entries)


def test_files_that_speak_int8_are_converted_at_the_border(ordered_litert, in_codes):
    session = LiteRTDesk().load(in_codes, entries=ordered_litert.entries)
    details, outputs = session._details["forward"]
    assert {affine.dtype.name for _, affine in [*details, *outputs]} == {"int8"}
    for entry in ordered_litert.entries:
        for right, seen in zip(
            ordered_litert.expected(entry), session.run(entry, ordered_litert.inputs), strict=True
        ):
            assert seen.dtype == np.float32
            assert snr_db(reference=right, candidate=seen) > 15, entry
    session.close()


def test_values_beyond_the_calibrated_range_are_clipped_not_wrapped(ordered_litert, in_codes):
    """An int8 that wraps would turn a bright pixel into a dark one."""
    session = LiteRTDesk().load(in_codes, entries=ordered_litert.entries)
    far, farther = ([array * scale for array in ordered_litert.inputs] for scale in (1e4, 1e8))
    for right, seen in zip(
        session.run("forward", far), session.run("forward", farther), strict=True
    ):
        np.testing.assert_array_equal(right, seen)
    session.close()

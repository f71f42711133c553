"""LiteRT on a desk: real files through the real runtime."""

import importlib.util
import warnings

import numpy as np
import pytest

from headtail.errors import RuntimeUnavailable
from headtail.metrics import snr_db
from headtail.runtimes.litert_desk import LiteRTDesk
from tests.exporters.converted import converted
from tests.headtail.runtimes import session_contract as contract

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return converted(tmp_path_factory.getbasetemp(), "litert", "Ordered")


@pytest.mark.parametrize("check", contract.CHECKS)
def test_the_session_keeps_the_contract(made, check):
    check(LiteRTDesk(), made)


def test_broken_files_are_named(made, tmp_path):
    contract.check_broken_files(LiteRTDesk(), made, tmp_path)


def test_a_missing_package_is_told_with_its_remedy(made, monkeypatch):
    real = importlib.util.find_spec
    absent = "ai_edge_litert"
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == absent else real(name, *rest),
    )
    assert "pip install 'headtail[export]'" in LiteRTDesk().probe().reason
    with pytest.raises(RuntimeUnavailable, match=r"is not installed.*pip install"):
        LiteRTDesk().load(made.path, entries=made.entries)


@pytest.fixture(scope="module")
def in_codes(made, tmp_path_factory):
    """The same net in int8 to its very ends, as ai-edge-quantizer makes it by default."""
    from ai_edge_quantizer import quantizer
    from ai_edge_quantizer.qtyping import TFLOperationName

    generator = np.random.default_rng(4)
    tool = quantizer.Quantizer(str(made.path))
    tool.add_static_config(
        ".*", TFLOperationName.ALL_SUPPORTED, activation_num_bits=8, weight_num_bits=8
    )
    samples = [
        {
            f"args_{place}": array + generator.normal(0, 0.1, array.shape).astype(np.float32)
            for place, array in enumerate(made.inputs)
        }
        for _ in range(8)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # calibration reads inner tensors, of which LiteRT warns
        ranges = tool.calibrate(dict.fromkeys(made.entries, samples))
        result = tool.quantize(ranges)
    path = tmp_path_factory.mktemp("int8") / "net.w8a8.tflite"
    path.write_bytes(bytes(result.quantized_model))
    return path


def test_files_that_speak_int8_are_converted_at_the_border(made, in_codes):
    session = LiteRTDesk().load(in_codes, entries=made.entries)
    details, outputs = session._details["forward"]
    assert {np.dtype(d["dtype"]).name for _, d in [*details, *outputs]} == {"int8"}
    for entry in made.entries:
        for right, seen in zip(made.expected(entry), session.run(entry, made.inputs), strict=True):
            assert seen.dtype == np.float32
            assert snr_db(reference=right, candidate=seen) > 15, entry
    session.close()


def test_values_beyond_the_calibrated_range_are_clipped_not_wrapped(made, in_codes):
    """An int8 that wraps would turn a bright pixel into a dark one."""
    session = LiteRTDesk().load(in_codes, entries=made.entries)
    far, farther = ([array * scale for array in made.inputs] for scale in (1e4, 1e8))
    for right, seen in zip(
        session.run("forward", far), session.run("forward", farther), strict=True
    ):
        np.testing.assert_array_equal(right, seen)
    session.close()

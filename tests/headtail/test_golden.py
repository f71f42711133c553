"""Golden vectors by entry point, and the gates that a run must reach."""

import dataclasses

import numpy as np
import pytest

from headtail.bundle import open_bundle
from headtail.errors import SchemaFault
from headtail.golden import (
    FOREIGN_SLACK_DB,
    FP32_GATE_DB,
    HALF_GATE_DB,
    RECORDED_SLACK_DB,
    GoldenSet,
    gate_db,
    snrs_db,
    worthless,
)
from headtail.manifest import FORWARD
from headtail.metrics import DB_LIMIT
from tests.support.bundles import SAMPLES, tiny_bundle


@pytest.fixture
def bundle(tmp_path):
    return open_bundle(tiny_bundle(tmp_path).path)


@pytest.fixture
def artifact(bundle):
    return bundle.manifest.artifacts[0]


def test_every_entry_point_has_its_inputs_and_what_pytorch_gave(bundle, artifact):
    golden, tensors = GoldenSet(bundle), bundle.golden()
    assert golden.count == SAMPLES
    np.testing.assert_array_equal(golden.inputs(1)[0], tensors["input.1.image"])
    (logits,) = golden.expected(artifact.entry(FORWARD), 1)
    np.testing.assert_array_equal(logits, tensors["output.1.logits"])
    mul, gate = golden.expected(artifact.entry("head_late"), 0)
    np.testing.assert_array_equal(mul, tensors["cut.late.0.mul"])
    np.testing.assert_array_equal(gate, tensors["cut.late.0.gate"])


def test_a_sample_that_is_not_there_is_named(bundle, artifact):
    with pytest.raises(SchemaFault, match=r"Golden tensor 'output\.9\.logits' is missing"):
        GoldenSet(bundle).expected(artifact.entry(FORWARD), 9)


def test_the_worst_output_of_a_sample_counts():
    right = [np.ones((1, 4), np.float32), np.ones((1, 4), np.float32)]
    near = [right[0], right[1] * np.float32(1.1)]
    snrs = snrs_db([right, right], [right, near])
    assert snrs[0] == DB_LIMIT
    assert snrs[1] == pytest.approx(20.0, abs=0.1)


def test_a_constant_output_is_worthless_unless_it_has_to_be():
    varied = [[np.array([1.0, 2.0])], [np.array([2.0, 1.0])]]
    constant = [[np.array([1.0, 1.0])], [np.array([1.0, 1.0])]]
    assert worthless(varied, varied) == ""
    assert worthless(varied, constant).startswith("output 0: output 0 is constant")
    assert worthless(constant, constant) == ""


@pytest.mark.parametrize(
    ("kind", "accelerator", "fp32", "int8"),
    [
        ("host", "cpu", FP32_GATE_DB, 30.0 - RECORDED_SLACK_DB),
        ("device", "cpu", FP32_GATE_DB, 30.0 - FOREIGN_SLACK_DB),
        ("emulated", "cpu", FP32_GATE_DB, 30.0 - FOREIGN_SLACK_DB),
        ("device", "gpu", HALF_GATE_DB, 30.0 - FOREIGN_SLACK_DB),
    ],
)
def test_gates_by_where_it_ran(artifact, kind, accelerator, fp32, int8):
    def gate(one, entry=FORWARD):
        return gate_db(one, one.entry(entry), timing_kind=kind, accelerator=accelerator)

    agreement = dataclasses.replace(artifact.agreement, snr_db_min=30.0)
    quantized = dataclasses.replace(artifact, precision="w8a8", agreement=agreement)
    assert gate(artifact) == gate(artifact, "head_early") == fp32
    assert gate(quantized) == pytest.approx(int8)
    assert gate(quantized, "head_early") is None  # nothing was recorded of it

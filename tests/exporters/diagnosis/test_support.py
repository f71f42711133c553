"""Tables say supported only for what they hold, and only for the version they were made from."""

import dataclasses
import re

import pytest
import torch

from exporters.diagnosis.seen import coreml_key
from exporters.diagnosis.support import TABLES, remedy_for, support_table
from headtail.errors import UnknownName

KEYS = {
    "coreml": ("aten.conv2d.default", "conv2d"),
    "executorch": ("aten.native_layer_norm.default", "aten::native_layer_norm.out"),
    "litert": ("aten.convolution.default", "aten.convolution.default"),
}


@pytest.mark.parametrize("target", TABLES)
def test_three_answers(target):
    table = support_table(target)
    assert table.status(*KEYS[target]) == ("supported", "")
    assert table.status("aten.erfinv.default", "nothing of that name")[0] == "unsupported"
    assert table.status("mine.special.default", "mine.special.default")[0] == "unknown"


@pytest.mark.parametrize("target", TABLES)
def test_nothing_is_supported_in_another_version(target):
    table = dataclasses.replace(support_table(target), installed="0.0.1")
    status, why = table.status(*KEYS[target])
    assert status == "unknown"
    assert "0.0.1" in why
    absent = dataclasses.replace(support_table(target), installed="")
    assert "not installed" in absent.status(*KEYS[target])[1]


def test_measurements_refute_registries():
    table = support_table("litert")
    name = "aten.view_as_real.default"
    assert table.status(name, "aten.add.Tensor", "float32")[0] == "supported"
    assert table.status(name, "aten.add.Tensor", "complex64")[0] == "unsupported"
    assert "complex" in table.status(name, "aten.add.Tensor", "complex64")[1]


def test_every_finding_has_a_remedy():
    for target in TABLES:
        for op in ("aten.erfinv.default", "aten.what_is_this.out", "mine.op.default", "cond"):
            for status in ("unsupported", "unknown"):
                assert remedy_for(op, target, status).endswith(".")
    assert "DFT" in remedy_for("aten._fft_r2c.default", "coreml", "unsupported")
    assert remedy_for("aten.roll.default", "executorch", "not delegated")


def test_unknown_target():
    with pytest.raises(UnknownName, match="coreml"):
        support_table("onnx")


def test_coreml_names():
    names = ["aten::div.Tensor_mode", "aten::pow.Tensor_Tensor", "aten::add_.Tensor"]
    assert [coreml_key(name) for name in names] == ["div", "pow.tensor_tensor", "add"]
    assert coreml_key("aten::__and__.Scalar") == "__and_"  # as coremltools has it
    assert coreml_key("mine::op.default") == "mine::op"


def test_tables_name_operators_that_torch_has():
    held = support_table("litert").operators
    aten = [re.fullmatch(r"aten\.(\w+)\.(\w+)", op) for op in held]
    missing = [m[0] for m in aten if m and not hasattr(getattr(torch.ops.aten, m[1], None), m[2])]
    assert missing == []

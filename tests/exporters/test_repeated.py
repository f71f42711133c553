"""What an export depends on is in its key, and a kept bundle is published again byte for byte."""

import dataclasses
from typing import Any

import pytest
import torch

from exporters.cache import Cache
from exporters.capture import capture, flat_graph
from exporters.conversion import Captures, Conversion
from exporters.digests import graph_digest
from exporters.kept import Kept
from exporters.repeated import export_key, keep_export, publish_again
from headtail.bundle import verify_files, write_report
from headtail.errors import UsageFault
from headtail.manifest import Coverage, LeftOver
from headtail.report import Report
from headtail.tensors import TensorSpec
from quantizers.recipe import RECIPES
from tests.exporters.nets import Residual, settle

IMAGE = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def _graph(change=lambda module: None):
    module = settle(Residual())
    change(module)
    return flat_graph(capture(module, (IMAGE,)))


def test_the_same_program_has_the_same_digest():
    assert graph_digest(_graph()) == graph_digest(_graph())


def test_one_weight_or_one_attribute_changes_the_digest():
    def weight(module):
        module.head.bias.data[0] += 1e-6

    def attribute(module):
        norm = next(m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d))
        norm.eps = 2e-5

    assert len({graph_digest(_graph(c)) for c in (lambda m: None, weight, attribute)}) == 3


def test_every_part_of_an_export_is_in_its_key(photo_source, captured):
    changes: list[dict[str, Any]] = [
        {},
        {"name": "other"},
        {"labels": ("f", "g", "h", "i", "j")},
        {"calibration": None},
        {"eval_labels": (0,) * 6},
        {"eval_slices": ("a",) * 6},
        {"preprocess": dataclasses.replace(photo_source.preprocess, scale=1.0)},
    ]
    keys = {export_key(dataclasses.replace(photo_source, **c), captured, "fp32") for c in changes}
    keys.add(export_key(photo_source, captured, "fp16"))
    keys.add(export_key(photo_source, dataclasses.replace(captured, cuts=()), "fp32"))
    assert len(keys) == len(changes) + 2


@pytest.mark.slow
def test_a_kept_bundle_is_published_again(litert_bundle, proof, tmp_path):
    cache = Cache(tmp_path / "cache")
    write_report(litert_bundle, Report("export", (proof.row(),), ("a remark",)).to_json())
    keep_export(cache, "k1", litert_bundle)
    again = publish_again(cache, "k1", tmp_path / "again.bundle", force=False)
    assert again is not None
    assert again.bundle.manifest == litert_bundle.manifest
    verify_files(again.bundle)
    assert [row.format for row in again.rows] == ["litert"]
    assert again.remarks[0] == "a remark"
    assert "measured at 20" in again.remarks[1]
    with pytest.raises(UsageFault):
        publish_again(cache, "k1", tmp_path / "again.bundle", force=False)
    assert publish_again(cache, "k2", tmp_path / "other.bundle", force=False) is None


FP32 = RECIPES["fp32"]


def test_conversions_are_kept_by_what_they_depend_on(tmp_path):
    kept = Kept(Cache(tmp_path / "cache"), rebuild=False)
    inputs = (TensorSpec("x", "f32", (1, 3)),)
    captures = Captures(tmp_path / "p", {"head_a": ("relu",)}, inputs, None, "graph", "photos")
    file = tmp_path / "net.fp32.tflite"
    file.write_bytes(b"net")
    coverage = Coverage("XNNPACK", 0.5, 2, (LeftOver("aten.roll", "blocks.1", 2),))
    one = Conversion("litert", FP32, file, {"drop_no_ops": 3}, coverage, 1.5, 10**9)
    kept.keep(captures, [one])

    target = tmp_path / "out.tflite"
    assert kept.take(captures, "litert", {FP32: target, RECIPES["fp16"]: target}) == [
        dataclasses.replace(one, path=target)
    ]
    assert target.read_bytes() == b"net"
    # fp32 needs no calibration, so other inputs change nothing; other heads and programs do
    other = dataclasses.replace(captures, calibration_digest="others")
    assert kept.take(other, "litert", {FP32: target})
    changes: list[dict[str, Any]] = [{"heads": {}}, {"digest": "other"}]
    for change in changes:
        assert not kept.take(dataclasses.replace(captures, **change), "litert", {FP32: target})
    assert not kept.take(captures, "executorch", {FP32: target})
    rebuilding = Kept(Cache(tmp_path / "cache"), rebuild=True)
    assert not rebuilding.take(captures, "litert", {FP32: target})

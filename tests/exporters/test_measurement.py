"""Figures for the planner, measured on a real bundle."""

import dataclasses

import pytest

from exporters.measurement import JPEG_QUALITIES, measure_bundle
from headtail.errors import GateFailed
from headtail.plan import Constraints, Link, plan

pytestmark = pytest.mark.slow
CODECS = ("raw32", "aq8t+deflate", "aq2t")


@pytest.fixture(scope="module")
def measured(litert_bundle):
    return measure_bundle(litert_bundle, litert_bundle.manifest.artifacts[0], CODECS)


def test_every_cut_and_codec_has_its_figures(measured, litert_bundle):
    cuts = {cut.id for cut in litert_bundle.manifest.cuts}
    assert set(measured.device.head_ms) == set(measured.server.tail_ms) == cuts == {"stem", "block"}
    for table in (measured.device.encode_ms, measured.quality.split, measured.wire_bytes):
        assert set(table) == cuts
        assert all(set(by_codec) == set(CODECS) for by_codec in table.values())
    told = {c.id: {k: c.fidelity[k].top1 for k in CODECS} for c in litert_bundle.manifest.cuts}
    assert measured.quality.split == told
    assert measured.samples == 4


def test_times_are_positive_and_shares_are_shares(measured):
    assert measured.device.local_ms > 0
    assert all(ms > 0 for ms in measured.server.tail_ms.values())
    assert measured.server.preprocess_ms > 0
    for by_codec in measured.quality.split.values():
        assert by_codec["raw32"] == 1.0  # nothing is lost, so nothing changes
        assert all(0 <= share <= 1 for share in by_codec.values())


def test_pictures_are_measured_as_the_model_sees_them(measured):
    assert [p.name for p in measured.pictures] == ["png", *(f"jpeg-{q}" for q in JPEG_QUALITIES)]
    png, *jpegs = measured.pictures
    assert png.fidelity == 1.0  # no loss
    sizes = [picture.size_bytes for picture in jpegs]
    assert sizes == sorted(sizes)


def test_the_device_factor_scales_the_device_only(measured, litert_bundle):
    slow = measure_bundle(
        litert_bundle, litert_bundle.manifest.artifacts[0], CODECS[:1], device_factor=1000.0
    )
    assert slow.device.local_ms > 20 * measured.device.local_ms
    assert slow.server.tail_ms["stem"] < 20 * measured.server.tail_ms["stem"]


def test_the_planner_takes_them(measured):
    candidates = plan(measured.problem(Link(10.0, 20.0, 20.0), Constraints())).candidates
    assert {c.cut for c in candidates} >= {"stem", "block", None}


def test_an_artifact_that_does_not_verify_is_not_planned_with(litert_bundle):
    broken = dataclasses.replace(litert_bundle.manifest.artifacts[0], precision="w8")
    with pytest.raises(GateFailed, match="does not verify"):
        measure_bundle(litert_bundle, broken, CODECS)


def test_what_does_not_classify_has_no_top1(litert_bundle):
    noise = dataclasses.replace(litert_bundle.manifest.artifacts[0].agreement, top1=None)
    cuts = tuple(
        dataclasses.replace(cut, fidelity=dict.fromkeys(cut.fidelity, noise))
        for cut in litert_bundle.manifest.cuts
    )
    bundle = dataclasses.replace(
        litert_bundle,
        manifest=dataclasses.replace(litert_bundle.manifest, task="tensor", cuts=cuts),
    )
    found = measure_bundle(bundle, bundle.manifest.artifacts[0], CODECS[:1])
    assert found.quality.split == {"stem": {}, "block": {}}
    assert {picture.fidelity for picture in found.pictures} == {None}

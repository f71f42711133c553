"""Which figure the page takes from where, and what it leaves out."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.report import Report
from headtail.report_page import contents
from headtail.report_page.contents import Contents, Measured
from headtail.strictjson import canonical_bytes, from_json, parse
from tests.support.bundles import FAILED, golden_tensors, manifest_of
from tests.support.reports import full_manifest, full_report


def known() -> Contents:
    return contents(full_manifest(), full_report())


def by_key(found):
    return {one.key: one for one in found.artifacts}


def test_the_manifest_alone_is_enough():
    manifest = manifest_of(golden_tensors(), name="tiny")
    found = contents(manifest, None)
    first = by_key(found)["litert.fp32"]
    seen = manifest.artifacts[0].agreement
    assert first.agreement == Measured(1.0, seen.low, seen.high)
    assert first.snr_db == Measured(120.0, None, None)
    assert (first.n, first.verdict, first.faithful) == (2, "pass", None)
    assert (found.evaluation, found.calibration) == (manifest.evaluation, manifest.calibration)


def test_the_quality_section_has_the_last_word():
    report = full_report()
    assert report.quality is not None
    measured = report.quality.report("litert", "w8a8")
    assert measured is not None
    assert measured.agreement is not None
    found = known()
    one = by_key(found)["litert.w8a8"]
    assert one.agreement is not None
    assert one.agreement.value == measured.agreement.value < 1
    assert (one.n, one.note_n, one.faithful) == (60, 2, measured.faithful)
    assert found.evaluation.seed == 11
    assert by_key(found)["coreml.fp32"].n == 2


def test_an_emulated_time_is_no_latency():
    one = by_key(known())["coreml.fp32"]
    assert (one.latency_ms_p50, one.latency_ms_p90, one.timing_kind) == (None, None, "emulated")
    assert "99.5" not in canonical_bytes(known()).decode()
    assert "latency" not in one.fronts


def test_what_failed_is_shown_though_it_is_not_in_the_bundle():
    one = by_key(known())["coreml.w4"]
    assert (one.verdict, one.note, one.fronts) == ("failed", FAILED.note, ())
    assert known().verdicts == {"pass": 2, "poor": 1, "failed": 1}


def test_the_smallest_and_fastest_are_of_those_that_pass():
    found = known()
    assert by_key(found)["litert.w8a8"].bytes < by_key(found)["litert.fp32"].bytes
    assert found.smallest == "litert.fp32"
    assert found.fastest == "litert.fp32"
    poor = [dataclasses.replace(row, verdict="poor") for row in full_report().artifacts]
    none = contents(full_manifest(), Report("verify", tuple(poor)))
    assert (none.smallest, none.fastest) == ("", "")


def test_sizes_are_against_the_same_format():
    one = by_key(known())["litert.w8a8"]
    assert one.ratio == pytest.approx(0.25, abs=0.02)
    assert one.shares == {"f32": 0.04, "i8": 0.96}
    assert one.elements == 100


def test_only_classes_that_are_spoken_of_are_named():
    assert set(known().class_names.values()) <= {"cat", "dog", "ship"}
    assert contents(full_manifest(), None).class_names == {}


def test_it_survives_json():
    found = known()
    assert from_json(Contents, parse(canonical_bytes(found))) == found


COSTS = st.integers(1, 6)
SCORES = st.sampled_from([0.2, 0.5, 0.9, 1.0])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(COSTS, SCORES), min_size=1, max_size=8))
def test_the_front_is_what_nothing_dominates(points):
    """For every artifact off the front one on it is at least as good in both."""
    manifest = full_manifest()
    template = manifest.artifacts[0]
    artifacts = tuple(
        dataclasses.replace(
            template,
            precision=f"p{i}",
            bytes=size,
            agreement=dataclasses.replace(template.agreement, top1=score),
        )
        for i, (size, score) in enumerate(points)
    )
    found = contents(dataclasses.replace(manifest, artifacts=artifacts), None).artifacts
    pairs = [(one.bytes, one.agreement.value if one.agreement else 0) for one in found]
    on = [pair for one, pair in zip(found, pairs, strict=True) if "size" in one.fronts]
    assert on
    for one, (size, score) in zip(found, pairs, strict=True):
        better = [(s, v) for s, v in pairs if s <= size and v >= score and (s, v) != (size, score)]
        assert ("size" in one.fronts) == (not better)
        assert any(s <= size and v >= score for s, v in on)

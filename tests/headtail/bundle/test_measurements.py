import dataclasses

import pytest

from headtail.bundle import open_bundle, read_report, update_report, write_report
from headtail.errors import IntegrityFault, SchemaFault
from headtail.report import Report
from headtail.strictjson import canonical_bytes, from_json, parse
from tests.support.bundles import tiny_bundle, tiny_report
from tests.support.folders import names
from tests.support.reports import full_report


@pytest.fixture
def bundle(tmp_path):
    return tiny_bundle(tmp_path)


def test_round_trip_and_again(bundle):
    assert read_report(bundle) is None
    for command in ("export", "bench"):
        report = tiny_report(command=command).to_json()
        write_report(bundle, report)
        assert read_report(bundle) == report
        assert from_json(Report, report).command == command
    assert [n for n in names(bundle.path) if "report" in n] == ["report.html", "report.json"]
    open_bundle(bundle.path)


def test_a_later_measurement_keeps_what_it_does_not_measure(bundle):
    """`verify` and `bench` measure rows; how well the files hold up took `quantize` minutes."""
    update_report(bundle, "bench", tiny_report().artifacts, ("first",))
    assert read_report(bundle) == Report("bench", tiny_report().artifacts, ("first",)).to_json()
    write_report(bundle, full_report().to_json())
    update_report(bundle, "verify", tiny_report().artifacts, ())
    held = Report.from_json(read_report(bundle))
    assert (held.command, held.notes, len(held.artifacts)) == ("verify", (), 3)
    former = full_report()
    assert held.quality == former.quality
    assert (held.stages, held.conversions) == (former.stages, former.conversions)


def test_the_file_is_canonical_and_its_seal_is_as_documented(bundle):
    write_report(bundle, tiny_report().to_json())
    data = (bundle.path / "report.json").read_bytes()
    value = parse(data)
    assert canonical_bytes(value) == data
    assert set(value) == {"bundle_id", "html_sha256", "report", "sha256"}
    assert value["bundle_id"] == bundle.manifest.bundle_id


def test_changed_images_lie_beside_the_report_and_are_sealed_with_it(bundle):
    write_report(bundle, full_report().to_json())
    sheets = [name for name in names(bundle.path) if name.endswith(".jpg")]
    assert sheets == ["report.litert.w8a8.jpg"]  # nothing changed in litert.fp32
    open_bundle(bundle.path)
    sheet = bundle.path / sheets[0]
    drawn = sheet.read_bytes()
    sheet.write_bytes(drawn[:-1] + b"?")
    with pytest.raises(IntegrityFault, match=r"litert\.w8a8\.jpg is not the sheet") as caught:
        open_bundle(bundle.path)
    assert caught.value.file == sheets[0]
    sheet.unlink()
    with pytest.raises(IntegrityFault, match=r"litert\.w8a8\.jpg is missing"):
        open_bundle(bundle.path)


def test_a_sheet_that_no_report_names_is_a_stray_file_until_the_next_report(bundle):
    stray = bundle.path / "report.coreml.w8.jpg"
    stray.write_bytes(b"x")
    with pytest.raises(IntegrityFault, match=r"report\.coreml\.w8\.jpg is in the folder"):
        open_bundle(bundle.path)
    write_report(bundle, tiny_report().to_json())
    assert not stray.exists()
    open_bundle(bundle.path)


def test_a_report_that_does_not_fit_is_not_written(bundle):
    report = tiny_report().to_json()
    with pytest.raises(SchemaFault, match=r"Unknown key 'more' @ \$\.report"):
        write_report(bundle, {**report, "more": 1})
    unfinished = dataclasses.replace(tiny_report().artifacts[0], low=float("nan"))
    with pytest.raises(SchemaFault, match=r"got nan @ \$\.report\.artifacts\[0\]\.low"):
        write_report(bundle, Report("verify", (unfinished,)).to_json())
    assert read_report(bundle) is None


def test_a_report_of_another_bundle_is_refused(bundle, tmp_path):
    other = tiny_bundle(tmp_path, name="other")
    write_report(other, tiny_report().to_json())
    for name in ("report.json", "report.html"):
        (bundle.path / name).write_bytes((other.path / name).read_bytes())
    with pytest.raises(IntegrityFault, match=r"report\.json is about bundle") as caught:
        read_report(bundle)
    assert "Delete report.json and report.html" in caught.value.remedy


@pytest.mark.parametrize(
    ("gone", "left"), [("report.json", "report.html"), ("report.html", "report.json")]
)
def test_half_a_report_is_refused(bundle, gone, left):
    write_report(bundle, tiny_report().to_json())
    (bundle.path / gone).unlink()
    with pytest.raises(IntegrityFault, match=f"{gone} is missing beside {left}") as caught:
        open_bundle(bundle.path)
    assert caught.value.file == gone

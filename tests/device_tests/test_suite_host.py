"""`pytest device_tests` over a real small bundle on this machine, as a person runs it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from device_tests.results import read_report
from headtail.bundle import open_bundle
from tests.device_tests.conftest import Suite

pytestmark = pytest.mark.slow
USAGE_ERROR = 4


def test_every_entry_point_of_every_artifact_is_judged(
    small_bundle: Path, suite: Suite, tmp_path: Path
) -> None:
    done = suite("--bundle", small_bundle, "--report", tmp_path / "out.json")
    assert done.returncode == 0, done.stdout
    report = read_report(tmp_path / "out.json")
    seen = {(row.format, row.precision, row.entry): row.verdict for row in report.replayed}
    assert seen == {
        ("litert", "fp32", "forward"): "pass",
        ("litert", "fp32", "head_b1"): "pass",
        ("litert", "w8a8", "forward"): "pass",
        ("litert", "w8a8", "head_b1"): "reported",
        ("executorch", "fp32", "forward"): "pass",
        ("executorch", "fp32", "head_b1"): "pass",
    }
    assert [entry.format for entry in report.not_run] == ["coreml"]
    assert report.failed == 0
    assert report.passed > 0
    assert report.skipped == len([line for line in _skips(done.stdout) if "Core ML" in line]) > 0
    assert {row.timing.kind for row in report.replayed} == {"host"}
    assert f"bundle small ({open_bundle(small_bundle).manifest.bundle_id[:16]})" in done.stdout


def test_a_bundle_with_a_changed_byte_is_refused_before_anything_runs(
    small_bundle: Path, suite: Suite, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.bundle"
    shutil.copytree(small_bundle, broken)
    model = broken / "artifacts" / "small.fp32.tflite"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    done = suite("--bundle", broken)
    assert done.returncode == USAGE_ERROR
    assert "artifacts/small.fp32.tflite" in done.stderr


def test_an_unknown_target_is_a_usage_error_that_lists_the_known(
    small_bundle: Path, suite: Suite
) -> None:
    done = suite("--bundle", small_bundle, "--target", "qemu:max")
    assert done.returncode == USAGE_ERROR
    assert "Known: app, app:adb, host, qemu:cortex-a53, qemu:cortex-a76." in done.stderr


def test_no_bundle_is_a_usage_error_with_the_command(suite: Suite) -> None:
    done = suite()
    assert done.returncode == USAGE_ERROR
    assert "pytest device_tests --bundle PATH" in done.stderr


def test_a_report_that_cannot_be_written_is_refused_at_the_start(
    small_bundle: Path, suite: Suite, tmp_path: Path
) -> None:
    done = suite("--bundle", small_bundle, "--report", tmp_path / "absent" / "out.json")
    assert done.returncode == USAGE_ERROR
    assert "there is no folder" in done.stderr


def _skips(text: str) -> list[str]:
    counted = []
    for line in text.splitlines():
        if line.startswith("SKIPPED ["):
            counted += [line] * int(line.split("[")[1].split("]")[0])
    return counted

"""`pytest device_tests --target qemu:...`: the real arm64 LiteRT wheel on two emulated cores."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from device_tests.results import read_report
from device_tests.targets.qemu_arm64 import QEMU
from tests.device_tests.conftest import Suite
from tests.support.capabilities import require

pytestmark = [pytest.mark.slow, pytest.mark.device]
CURE = "apt-get install qemu-user-static"


@pytest.mark.parametrize("cpu", ["cortex-a53", "cortex-a76"])
def test_arm64_kernels_give_what_pytorch_gives(
    small_bundle: Path, suite: Suite, tmp_path: Path, cpu: str
) -> None:
    require(shutil.which(QEMU) is not None, f"{QEMU} is not installed; install it with: {CURE}")
    done = suite("--bundle", small_bundle, "--target", f"qemu:{cpu}", "--report", tmp_path / "r")
    assert done.returncode == 0, done.stdout
    report = read_report(tmp_path / "r")
    # the suite skips by itself what it cannot build, for example without a network
    require(report.target is not None, f"the arm64 sysroot is not to be had: {done.stdout[-1500:]}")
    assert report.target is not None
    assert (report.target.machine, report.target.timing_kind) == ("aarch64", "emulated")
    rows = {(row.precision, row.entry): row for row in report.replayed}
    assert set(rows) == {(p, e) for p in ("fp32", "w8a8") for e in ("forward", "head_b1")}
    for row in rows.values():
        assert row.timing.kind == "emulated"
        assert row.host is not None
    assert rows["fp32", "forward"].verdict == rows["fp32", "head_b1"].verdict == "pass"
    assert rows["w8a8", "forward"].verdict == "reported"
    assert {entry.format for entry in report.not_run} == {"executorch", "coreml"}


@pytest.mark.parametrize(("require_all", "exit_code"), [("0", 0), ("1", 1)])
def test_a_machine_without_qemu_skips_with_the_cure_or_fails(
    small_bundle: Path, suite: Suite, tmp_path: Path, require_all: str, exit_code: int
) -> None:
    environment = {"PATH": str(Path(sys.executable).parent), "HEADTAIL_REQUIRE_ALL": require_all}
    arguments = ["--bundle", small_bundle, "--target", "qemu:cortex-a76"]
    done = suite(*arguments, "--report", tmp_path / "r", environment=environment)
    assert done.returncode == exit_code, done.stdout
    assert CURE in done.stdout
    report = read_report(tmp_path / "r")
    assert report.target is None
    assert len(report.not_run) == 4

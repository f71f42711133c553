"""The table of targets, and processes that end badly."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from device_tests.targets import TARGETS, open_target
from device_tests.targets.base import Call, Job, TargetCrashed
from device_tests.targets.process import run_job
from device_tests.targets.qemu_arm64 import QEMU
from headtail.errors import MissingDependency, UnknownName

KINDS = {
    "app": "host",
    "app:adb": "device",
    "host": "host",
    "qemu:cortex-a53": "emulated",
    "qemu:cortex-a76": "emulated",
}


def job(model: Path) -> Job:
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    return Job("litert", model, sha256, (Call("forward", (np.zeros(1, np.float32),)),))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.tflite"
    path.write_bytes(b"never read")
    return path


def test_an_unknown_target_lists_what_exists() -> None:
    with pytest.raises(UnknownName, match=r"Known: app, app:adb, host, qemu:cortex-a53"):
        open_target("qemu:max")


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_answers_for_every_format_before_it_starts(name: str) -> None:
    target = open_target(name)
    assert target.name == name
    assert target.timing_kind == KINDS[name]
    formats = target.formats()
    assert set(formats) == {"litert", "executorch", "coreml"}
    for support in formats.values():
        said = [support.version, support.missing, support.never]
        assert sum(map(bool, said)) == 1
    assert "no Core ML" in formats["coreml"].never


def test_the_emulated_core_says_what_executorch_needs() -> None:
    assert "C++ runner" in open_target("qemu:cortex-a76").formats()["executorch"].never


def test_host_facts_name_the_runtimes_that_are_installed() -> None:
    facts = open_target("host").describe()
    installed = {"litert": "ai_edge_litert", "executorch": "executorch"}
    expected = {f for f, module in installed.items() if importlib.util.find_spec(module)}
    assert set(facts.runtimes) == expected
    assert facts.timing_kind == "host"


def test_a_machine_without_qemu_is_told_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependency, match=f"{QEMU}.*apt-get install qemu-user-static"):
        open_target("qemu:cortex-a76").start()


def test_a_runner_killed_by_a_signal_is_a_crash_not_a_hang(model: Path) -> None:
    shell = ["/bin/sh", "-c", "echo segmentation >&2; kill -SEGV $$"]
    with pytest.raises(TargetCrashed, match=r"signal 11.*segmentation"):
        run_job(job(model), python=shell, environment={}, timing_kind="host", timeout_s=20)


def test_a_runner_that_does_not_end_is_stopped(model: Path) -> None:
    endless = ["/bin/sh", "-c", "read never < /dev/zero"]
    with pytest.raises(TargetCrashed, match=r"did not end within 0\.2 s"):
        run_job(job(model), python=endless, environment={}, timing_kind="host", timeout_s=0.2)

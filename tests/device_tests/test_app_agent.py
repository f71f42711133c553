"""The app as a target: the job it is sent, the command lines, and the way to a phone and back."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from app.agent import intent
from app.agent.schema import CallsJob, CallsReply, Refusal, read_job
from device_tests import protocol
from device_tests.replay import Replays
from device_tests.results import read_report
from device_tests.targets import app_agent, open_target
from device_tests.targets.app_agent import (
    ACTIVITY,
    PACKAGE,
    clean_commands,
    copy_commands,
    job_json,
    read_command,
    start_command,
)
from device_tests.targets.base import Call, Job, JobRefused, TargetCrashed
from headtail.bundle import Bundle, open_bundle
from headtail.errors import EnvironmentFault
from headtail.golden import FP32_GATE_DB
from headtail.manifest import FORWARD, Entry
from headtail.metrics import snr_db
from headtail.tensors import TensorSpec
from tests.device_tests.conftest import ROOT, Suite
from tests.support.capabilities import require

ENTRY = Entry(FORWARD, (TensorSpec("x", "f32", (1, 2)),), (TensorSpec("y", "f32", (1, 2)),))


def job(tmp_path: Path) -> Job:
    model = tmp_path / "net.tflite"
    model.write_bytes(b"never run")
    array = np.zeros((1, 2), np.float32)
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    calls = (Call(FORWARD, (array,)), Call(FORWARD, (array,)), Call(FORWARD, (array + 1,)))
    return Job("litert", model, sha256, calls, warmup=1, runs=3, entries=(ENTRY,))


def test_the_job_is_one_that_the_agent_reads(tmp_path: Path) -> None:
    asked = job(tmp_path)
    read = read_job(job_json(asked, model="net.tflite", inputs=""))
    assert isinstance(read, CallsJob)
    assert (read.format, read.model, read.sha256) == ("litert", "net.tflite", asked.sha256)
    assert (read.warmup, read.runs, read.entries) == (1, 3, (ENTRY,))
    assert [call.inputs for call in read.calls] == [("in0.npy",), ("in0.npy",), ("in1.npy",)]
    assert set(protocol.input_files(asked)) == {"in0.npy", "in1.npy"}


def test_the_agents_reply_and_refusal_are_the_runners(tmp_path: Path) -> None:
    def fields(cls: type) -> list[str]:
        return [field.name for field in dataclasses.fields(cls)]

    assert fields(CallsReply) == fields(protocol.Reply)
    assert fields(Refusal) == fields(protocol.Refusal)


def test_the_phones_side_knows_the_same_words() -> None:
    assert app_agent.EXTRA == intent.EXTRA
    assert intent.job_folder(Path("files"), "job1") == Path("files/agent/job1")
    assert intent.asked_for(dict([start_command("job1")[-2:]]).get) == "job1"


def test_the_spec_builds_the_app_that_is_asked_for() -> None:
    text = (ROOT / "app" / "buildozer.spec").read_text()
    spec = dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line)
    assert f"{spec['package.domain']}.{spec['package.name']}" == PACKAGE


def test_command_lines() -> None:
    assert copy_commands("/tmp/x/job1", "job1") == [
        ["adb", "shell", "mkdir", "-p", "/data/local/tmp/headtail-agent"],
        ["adb", "push", "/tmp/x/job1", "/data/local/tmp/headtail-agent/job1"],
        ["adb", "shell", "run-as", PACKAGE, "mkdir", "-p", "files/agent"],
        [
            *("adb", "shell", "run-as", PACKAGE, "cp", "-r"),
            *("/data/local/tmp/headtail-agent/job1", "files/agent/job1"),
        ],
    ]
    assert start_command("job1") == [
        *("adb", "shell", "am", "start", "-W", "-S", "-n", f"{PACKAGE}/{ACTIVITY}"),
        *("--es", "headtail.agent", "job1"),
    ]
    assert read_command("job1", "0.0.npy") == [
        *("adb", "exec-out", "run-as", PACKAGE, "cat", "files/agent/job1/0.0.npy")
    ]
    assert [command[-1] for command in clean_commands("job1")] == [
        "files/agent/job1",
        "/data/local/tmp/headtail-agent/job1",
    ]


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`tests.device_tests.fake_adb` as the `adb` of PATH; the folder of its phone."""
    folder, bin_folder = tmp_path / "phone", tmp_path / "bin"
    (folder / "app" / "files").mkdir(parents=True)
    (folder / "data" / "local" / "tmp").mkdir(parents=True)
    bin_folder.mkdir()
    adb = bin_folder / "adb"
    adb.write_text(f'#!/bin/sh\nexec "{sys.executable}" -B -m tests.device_tests.fake_adb "$@"\n')
    adb.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE_PHONE", str(folder))
    monkeypatch.setattr(app_agent, "PHONE_TIMEOUT_S", 60.0)
    monkeypatch.setattr(app_agent, "ASK_EVERY_S", 0.0)
    return folder


def smallest(bundle: Bundle) -> Job:
    target = open_target("app:adb")
    artifact = bundle.manifest.artifact("litert", "fp32")
    whole = Replays(bundle, target, target).job(artifact, artifact.entries)
    return dataclasses.replace(whole, warmup=0, runs=2)


@pytest.mark.slow
def test_golden_vectors_go_to_a_phone_and_back(small_bundle: Path, phone: Path) -> None:
    require(find_spec("ai_edge_litert") is not None, "pip install ai-edge-litert")
    bundle, target = open_bundle(small_bundle), open_target("app:adb")
    target.start()
    facts = target.describe()
    assert (facts.system, facts.timing_kind) == ("Acme Phone 1, Android 15", "device")
    result = target.run(smallest(bundle))
    assert (result.runtime, result.timing_kind) == ("litert", "device")
    assert [len(call.runs_ms) for call in result.calls] == [2] * 6  # 3 samples, 2 entry points
    expected = bundle.golden()["output.0.scores"]
    assert snr_db(reference=expected, candidate=result.calls[0].outputs[0]) > FP32_GATE_DB
    broken = dataclasses.replace(smallest(bundle), sha256="0" * 64)
    with pytest.raises(JobRefused, match="The job promises SHA-256 0000"):
        target.run(broken)
    assert list((phone / "app" / "files" / "agent").iterdir()) == []  # nothing is left there
    assert list((phone / "data" / "local" / "tmp" / "headtail-agent").iterdir()) == []


def test_without_adb_the_cure_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentFault, match="apt-get install adb"):
        open_target("app:adb").start()


def test_a_phone_without_the_app_is_told(phone: Path) -> None:
    (phone / "app" / "files").rmdir()
    (phone / "app").rmdir()
    with pytest.raises(EnvironmentFault, match=f"unknown package: {PACKAGE}"):
        open_target("app:adb").start()


@pytest.mark.slow
def test_an_app_that_gives_no_result_is_a_crash_not_a_hang(
    phone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_agent, "PHONE_TIMEOUT_S", 1.0)
    (phone / "asleep").touch()
    with pytest.raises(TargetCrashed, match=r"gave no result within 1 s"):
        open_target("app:adb").run(job(tmp_path))
    assert list((phone / "app" / "files" / "agent").iterdir()) == []


@pytest.mark.slow
def test_the_whole_suite_passes_through_the_app(
    small_bundle: Path, suite: Suite, tmp_path: Path
) -> None:
    # LiteRT only: each ExecuTorch job is a process that imports torch
    out = tmp_path / "out.json"
    done = suite(
        "--bundle", small_bundle, "--target", "app", "--report", out, "-k", "not executorch"
    )
    assert done.returncode == 0, done.stdout[-3000:]
    report = read_report(out)
    assert {(row.precision, row.entry): row.verdict for row in report.replayed} == {
        ("fp32", "forward"): "pass",
        ("fp32", "head_b1"): "pass",
        ("w8a8", "forward"): "pass",
        ("w8a8", "head_b1"): "reported",
    }
    assert report.target is not None
    assert (report.target.name, report.failed) == ("app", 0)
    assert {row.timing.kind for row in report.replayed} == {"host"}

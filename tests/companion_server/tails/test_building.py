"""Real files from real builders, one of which is killed, and one of which is changed on disk."""

import os
import shutil
import signal
import time

import psutil
import pytest

from companion_server.tails import TailRunner
from companion_server.tails.backends import BACKENDS, MOST_SAMPLES
from companion_server.tails.built import BuiltFiles
from companion_server.tails.chain import divide
from companion_server.tails.measuring import tensors
from companion_server.tails.program import read_program
from companion_server.tails.proof import Golden, lowest_snr_db
from tests.companion_server.tails.test_tuning import assert_golden, tuned, verdicts
from tests.support.capabilities import require

pytestmark = pytest.mark.slow
WITHIN_S = 240.0
ENTRIES = ("", "c1", "c2")


def opened(bundle, folder):
    runner = TailRunner(tuning=folder)
    runner.load(bundle)
    return runner


def builders():
    """Processes of builders that this process started."""
    found = []
    for child in psutil.Process().children():
        try:
            if "companion_server.tails.builder" in child.cmdline():
                found.append(child)
        except psutil.Error:  # it ended meanwhile
            continue
    return found


def until_building(runner, built, key):
    until = time.monotonic() + WITHIN_S
    while built.record(key).get("state") != "building":
        assert time.monotonic() < until
        runner.tend()


@pytest.fixture(scope="module")
def folder(bundle, tmp_path_factory):
    """Files of ExecuTorch, on a machine without a compiler, whose first builder was killed."""
    folder = tmp_path_factory.mktemp("state") / "tuned"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXX", "/nowhere/c++")
        runner = opened(bundle, folder)
        built = BuiltFiles(folder)
        until_building(runner, built, built.key(bundle.manifest.bundle_id, "", "executorch"))
        (builder,) = builders()
        os.killpg(builder.pid, signal.SIGKILL)
        assert_golden(runner, bundle)
        info = tuned(runner, bundle, within_s=WITHIN_S)
        assert_golden(runner, bundle)
        runner.close()
    assert not builders()
    return folder, info


def test_after_a_killed_builder_another_one_does_the_work(folder):
    for verdict in verdicts(folder[1], "executorch"):
        assert verdict["state"] in ("chosen", "slower")
        assert verdict["snr_db"] > 100


def test_without_a_compiler_the_candidate_says_why_it_is_absent(folder):
    for verdict in verdicts(folder[1], "inductor"):
        assert verdict["state"] == "absent"
        assert "no C++ compiler '/nowhere/c++'" in verdict["reason"]


def test_the_next_start_builds_nothing(folder, bundle, monkeypatch):
    monkeypatch.setenv("CXX", "/nowhere/c++")
    runner = opened(bundle, folder[0])
    try:
        runner.tend()
        assert not builders()
        info = tuned(runner, bundle)
        assert all(v["state"] in ("chosen", "slower") for v in verdicts(info, "executorch"))
    finally:
        runner.close()


def test_a_changed_file_is_never_loaded(folder, bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "/nowhere/c++")
    copy = tmp_path / "tuned"
    shutil.copytree(folder[0], copy)
    built = BuiltFiles(copy)
    key = built.key(bundle.manifest.bundle_id, "c1", "executorch")
    code = copy / f"{key}.code"
    data = bytearray(code.read_bytes())
    data[len(data) // 2] ^= 1
    code.write_bytes(data)
    runner = opened(bundle, copy)
    try:
        info = tuned(runner, bundle)
        states = [verdict["state"] for verdict in verdicts(info, "executorch")]
        assert states[1] == "refused"
        assert "refused" not in (states[0], states[2])
        assert_golden(runner, bundle)
    finally:
        runner.close()
    assert not code.exists()


# torch and executorch warn of their own parts while they capture and compile
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", ["executorch", "inductor"])
def test_a_built_segment_takes_any_batch_and_keeps_its_rows(bundle, tmp_path, name):
    backend = BACKENDS[name]
    assert backend.write is not None
    require(not backend.missing(), backend.missing())
    manifest, golden = bundle.manifest, Golden(bundle.manifest, bundle.golden())
    tail = manifest.tails[0]
    program = read_program(bundle.file(tail.program), bundle.file(tail.weights))
    segment = divide(manifest, program).segments[1]
    path = tmp_path / "segment.so"
    backend.write(segment.runs, tensors(golden.batch("c1", 2)), path, MOST_SAMPLES)
    runs = backend.load(path, segment.runs, 1)
    for samples in (1, 2, MOST_SAMPLES - 1, MOST_SAMPLES, MOST_SAMPLES + 1, 40):
        values = golden.batch("c1", samples)
        wanted = [value.numpy() for value in segment.runs(*tensors(values))]
        found = [value.numpy() for value in runs(*tensors(values))]
        assert lowest_snr_db(wanted, found) > 100

"""LiteRT's C API by ctypes: real files through the real `libLiteRt.so`."""

import gc
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from device_tests.sysroot import CACHE
from device_tests.targets.qemu_arm64 import QEMU, QemuTarget
from headtail.errors import RuntimeUnavailable, UsageFault
from headtail.metrics import snr_db
from headtail.runtimes.litert_c_api import LiteRTLibrary, LiteRTStatus, open_library
from headtail.runtimes.litert_ctypes import LiteRTCtypes
from headtail.runtimes.litert_desk import LiteRTDesk
from headtail.runtimes.memory import resident_bytes
from tests.headtail.runtimes import session_contract as contract
from tests.support.capabilities import require

pytestmark = pytest.mark.slow
CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("check", contract.CHECKS)
def test_the_session_keeps_the_contract(ordered_litert, check):
    check(LiteRTCtypes(), ordered_litert)


def test_broken_files_are_named(ordered_litert, tmp_path):
    contract.check_broken_files(LiteRTCtypes(), ordered_litert, tmp_path)


def test_it_says_what_the_wheels_own_runtime_says(ordered_litert, in_codes):
    """Bit for bit: it is the same library, and int8 is converted at the border alike."""
    for path in (ordered_litert.path, in_codes):
        sessions = [
            runtime.load(path, entries=ordered_litert.entries)
            for runtime in (LiteRTDesk(), LiteRTCtypes())
        ]
        for entry in ordered_litert.entries:
            right, seen = (session.run(entry, ordered_litert.inputs) for session in sessions)
            for one, other in zip(right, seen, strict=True):
                np.testing.assert_array_equal(one, other)
        for session in sessions:
            session.close()


def test_an_input_that_crosses_the_cut_is_given_back(ordered_litert):
    """LiteRT binds a tensor that is input and output to one buffer; the other's bytes are lost."""
    session = LiteRTCtypes().load(ordered_litert.path, entries=ordered_litert.entries)
    names = [spec.name for spec in session.outputs("head_conv")]
    results = dict(zip(names, session.run("head_conv", ordered_litert.inputs), strict=True))
    _, alpha, middle = ordered_litert.inputs
    np.testing.assert_array_equal(results["alpha"], alpha)
    np.testing.assert_array_equal(results["middle"], middle)
    session.close()


def test_an_accelerator_that_is_not_here_is_no_silent_cpu(ordered_litert):
    for accelerator in ("gpu", "npu"):
        with pytest.raises(RuntimeUnavailable, match=f"machine's {accelerator}.*Choose the cpu"):
            LiteRTCtypes().load(
                ordered_litert.path, entries=ordered_litert.entries, accelerator=accelerator
            )


def test_threads_change_nothing_but_time(ordered_litert):
    one, two = (
        LiteRTCtypes().load(ordered_litert.path, entries=ordered_litert.entries, threads=threads)
        for threads in (1, 2)
    )
    pairs = (session.run("forward", ordered_litert.inputs) for session in (one, two))
    for right, seen in zip(*pairs, strict=True):
        assert snr_db(reference=right, candidate=seen) > 100
    one.close()
    two.close()
    with pytest.raises(UsageFault, match="0 threads"):
        LiteRTCtypes().load(ordered_litert.path, entries=ordered_litert.entries, threads=0)


def test_closing_frees_what_loading_took(ordered_litert):
    def once():
        session = LiteRTCtypes().load(ordered_litert.path, entries=ordered_litert.entries)
        session.run("forward", ordered_litert.inputs)
        session.close()

    for _ in range(20):
        once()
    gc.collect()
    require(resident_bytes() is not None, "this system has no /proc/self/statm")
    before = resident_bytes() or 0
    for _ in range(200):
        once()
    gc.collect()
    after = resident_bytes() or 0
    # an environment that was kept costs 30 kB, a compiled model more: 200 of either are 6 MB
    assert after - before < 2 << 20


def test_a_library_that_is_not_there_is_told_with_its_remedy():
    runtime = LiteRTCtypes("/nowhere/libLiteRt.so")
    reason = runtime.probe().reason
    assert "/nowhere/libLiteRt.so cannot be loaded" in reason
    assert "com.google.ai.edge.litert:litert:2.1.6" in reason


def test_a_status_reads_as_words():
    library = open_library()
    environment = library.made("CreateEnvironment", 0, None)
    with pytest.raises(LiteRTStatus, match=r"LiteRtCreateModelFromFile: file.*\(status 500\)"):
        library.made("CreateModelFromFile", environment, b"/nowhere")
    library.destroy("Environment", environment)
    assert "does not know" in str(LiteRTStatus("RunCompiledModel", 77))
    assert isinstance(library, LiteRTLibrary)


@pytest.fixture(scope="module")
def library_of():
    """version -> the `libLiteRt.so` of that ai-edge-litert, kept between test runs."""

    def fetched(version):
        folder = CHECKOUT / "build" / "litert-libraries" / version
        found = folder / "ai_edge_litert" / "libLiteRt.so"
        if not found.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps"]
            command += ["--dest", str(folder), f"ai-edge-litert=={version}"]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
            require(done.returncode == 0, f"ai-edge-litert {version}: {done.stderr[-300:]}")
            wheel = next(folder.glob("*.whl"))
            with zipfile.ZipFile(wheel) as archive:
                archive.extract("ai_edge_litert/libLiteRt.so", folder)
            wheel.unlink()
        return str(found)

    return fetched


def run_elsewhere(made, folder, library, *python):
    """What another process says of `made`; its outputs are compared with PyTorch's."""
    for i, array in enumerate(made.inputs):
        np.save(folder / f"in.{i}.npy", array)
    module = "tests.headtail.runtimes.litert_process"
    done = subprocess.run(
        [*python, "-m", module, library, str(made.path), str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=CHECKOUT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for entry in made.entries:
        for i, right in enumerate(made.expected(entry)):
            seen = np.load(folder / f"{entry}.{i}.npy")
            assert snr_db(reference=right, candidate=seen) > 100, entry
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(("version", "said"), [("2.1.6", "2.1.6"), ("2.2.0", "2.2")])
def test_older_libraries_of_the_same_api_run(ordered_litert, library_of, tmp_path, version, said):
    """Each in a process of its own: two versions in one process crash each other."""
    line = run_elsewhere(ordered_litert, tmp_path, library_of(version), sys.executable)
    assert line.split()[0] == said


def test_a_library_of_the_former_api_is_refused_and_not_called(ordered_litert, library_of):
    """Until 2.1.5 a model was made without an environment: the same call would crash."""
    runtime = LiteRTCtypes(library_of("2.1.2"))
    assert not runtime.probe().available
    with pytest.raises(RuntimeUnavailable, match=r"no LiteRtCreateModelFromFd.*2\.1\.6 or newer"):
        runtime.load(ordered_litert.path, entries=ordered_litert.entries)


def test_the_arm64_library_says_the_same(ordered_litert, tmp_path, monkeypatch):
    """The aarch64 wheel's library under qemu: its output, never its time."""
    require(shutil.which(QEMU) is not None, f"{QEMU} is not installed (qemu-user-static)")
    monkeypatch.delenv(CACHE)  # of conversions; the sysroot is kept in the checkout
    target = QemuTarget("cortex-a76")
    line = run_elsewhere(ordered_litert, tmp_path, "-", *target.python(CHECKOUT))
    assert line.split() == ["2.3.0", "aarch64"]

"""The C interface of the bridge, called wrongly: an error each time, never a crash."""

import ctypes
import os
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from headtail.errors import RuntimeUnavailable
from headtail.runtimes.coreml_library import BridgeFault, Side, Status, Tensor, Text, open_bridge
from tests.coreml_fake.framework import FakeCoreML, build, built
from tests.coreml_fake.fuzz import FUNCTIONS, X, compute, fuzz
from tests.coreml_fake.heap import heap_in_use
from tests.coreml_fake.packages import facts, write_package
from tests.support.capabilities import require

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return built(tmp_path_factory.getbasetemp())


@pytest.fixture
def bridge(library):
    fake = FakeCoreML(library)
    fake.interpret(facts, compute)
    yield open_bridge(library)
    assert fake.alive() == 0


@pytest.fixture
def compiled(bridge, tmp_path):
    package = write_package(tmp_path / "net.mlpackage", FUNCTIONS)
    return bridge.compile(package, cache=tmp_path / "caches", key="net")


def rooms():
    return {"y": np.empty((3, 4), np.float32), "z": np.empty(2, np.float16)}


def test_a_model_describes_itself(bridge, compiled):
    handle = bridge.open(compiled, None, units=0)
    assert {n: f.shape for n, f in bridge.describe(handle, Side.INPUTS).items()} == {"x": (3, 4)}
    outputs = bridge.describe(handle, Side.OUTPUTS)
    assert [(f.name, f.dtype.name) for f in outputs.values()] == [
        ("y", "float32"),
        ("z", "float16"),
    ]
    bridge.close(handle)


def test_wrong_calls_at_random_are_errors(library, tmp_path):
    seen = fuzz(library, tmp_path, rounds=1500)
    assert set(seen) == {status.value for status in Status} - {Status.SYSTEM}
    assert seen[Status.OK] > 20
    assert FakeCoreML(library).alive() == 0


def test_a_closed_handle_stays_closed(bridge, compiled):
    first = bridge.open(compiled, None, units=0)
    bridge.close(first)
    second = bridge.open(compiled, None, units=0)
    assert second != first
    for call in (
        lambda: bridge.close(first),
        lambda: bridge.describe(first, Side.INPUTS),
        lambda: bridge.predict(first, {"x": X}, rooms()),
    ):
        with pytest.raises(BridgeFault, match=f"No open model has the handle {first}") as caught:
            call()
        assert caught.value.status == Status.CLOSED
    bridge.close(second)


def test_closing_during_a_prediction_lets_it_end(bridge, library, compiled):
    begun, closed = threading.Event(), threading.Event()

    def slow(path, function, inputs):
        begun.set()
        assert closed.wait(20)
        return compute(path, function, inputs)

    FakeCoreML(library).interpret(facts, slow)
    handle = bridge.open(compiled, None, units=0)
    results = []
    thread = threading.Thread(
        target=lambda: results.extend(bridge.predict(handle, {"x": X}, rooms()))
    )
    thread.start()
    assert begun.wait(20)
    bridge.close(handle)
    closed.set()
    thread.join(20)
    np.testing.assert_array_equal(results[0], X * 2)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"w": X}, "No input is called w; there are x"),
        ({"x": X, "w": X}, "No input is called w"),
        ({"n" * 256: X}, r"No input is called \(null\)"),  # a name without an end
        ({"x": X.astype(np.int8)}, r"x has 12 bytes, its shape 0"),
        ({"x": X[:2]}, "x does not match the model"),
    ],
)
def test_other_inputs_are_named(bridge, compiled, inputs, words):
    handle = bridge.open(compiled, None, units=0)
    with pytest.raises(BridgeFault, match=words):
        bridge.predict(handle, inputs, rooms())
    bridge.close(handle)


def test_more_tensors_than_there_is_room_for_are_not_written(bridge, library, compiled):
    handle = bridge.open(compiled, None, units=0)
    tensors, count = (Tensor * 2)(), ctypes.c_int32(1)
    raw = ctypes.CDLL(str(library))
    arguments = ctypes.c_int64(handle), Side.OUTPUTS, tensors, ctypes.byref(count), None
    assert raw.headtail_coreml_describe(*arguments) == Status.ARGUMENT
    assert count.value == 2
    assert bytes(tensors) == bytes(ctypes.sizeof(tensors))
    assert raw.headtail_coreml_describe(*arguments) == Status.OK
    assert [tensor.name for tensor in tensors] == [b"y", b"z"]
    bridge.close(handle)


def test_a_size_that_overflows_is_not_a_small_one(bridge, library, compiled):
    """(2^62 + 3) x 4 floats are 2^66 + 48 bytes; in 64 bits that would read as 48."""
    handle = bridge.open(compiled, None, units=0)
    given, wanted = (Tensor * 1)(), (Tensor * 1)()
    given[0] = Tensor(b"x", ((1 << 62) + 3, 4), 2, 65568, X.ctypes.data, X.nbytes)
    wanted[0] = Tensor(b"y", (), 0, 0, None, 0)
    raw = ctypes.CDLL(str(library))
    status = raw.headtail_coreml_predict(ctypes.c_int64(handle), given, 1, wanted, 1, None)
    assert status == Status.TENSOR
    bridge.close(handle)


def test_a_path_that_does_not_fit_is_not_cut(bridge, library, compiled, tmp_path):
    raw, room = ctypes.CDLL(str(library)), ctypes.create_string_buffer(b"?" * 64)
    paths = (str(tmp_path / "net.mlpackage").encode(), str(tmp_path / "caches").encode(), b"net")
    text = Text(ctypes.addressof(room), 12)
    status = raw.headtail_coreml_compile(*paths, 0, ctypes.byref(text), None)
    assert status == Status.ARGUMENT
    assert room.value == b"?" * 64


def test_a_model_that_another_thread_compiled_meanwhile_is_taken(bridge, library, tmp_path):
    package = write_package(tmp_path / "net.mlpackage", FUNCTIONS)
    target = tmp_path / "caches" / "twice.mlmodelc"

    def meanwhile(path, function):
        if path == package:
            shutil.copytree(package, target)
        return facts(path, function)

    FakeCoreML(library).interpret(meanwhile, compute)
    assert bridge.compile(package, cache=tmp_path / "caches", key="twice") == target
    assert list(target.parent.iterdir()) == [target]


def test_opening_and_closing_takes_no_memory(bridge, compiled):
    def heap_after(times):
        for _ in range(times):
            bridge.close(bridge.open(compiled, None, units=0))
        return heap_in_use()

    heap_after(100)
    first = heap_after(500)
    assert abs(heap_after(500) - first) < 10_000  # one object of 32 bytes each time is 16,000


def test_a_key_cannot_leave_the_caches(bridge, compiled, tmp_path):
    package = tmp_path / "net.mlpackage"
    for key in ("../up", "a/b", ".hidden", "", "k" * 129):
        with pytest.raises(BridgeFault, match="key of letters") as caught:
            bridge.compile(package, cache=tmp_path / "caches", key=key)
        assert caught.value.status == Status.ARGUMENT
    assert [path.name for path in (tmp_path / "caches").iterdir()] == ["net.mlmodelc"]


def test_an_error_longer_than_its_room_is_cut_between_characters(bridge, library, compiled):
    def wordy(path, function):
        raise OSError("ü" * 5000)

    FakeCoreML(library).interpret(wordy, compute)
    with pytest.raises(BridgeFault) as caught:
        bridge.open(compiled, None, units=0)
    assert set(caught.value.said) == {"ü"}
    assert len(caught.value.said.encode()) in {4094, 4095}


def test_the_caches_are_the_apps_own_if_none_are_named(bridge, compiled, tmp_path):
    package = tmp_path / "net.mlpackage"
    found = bridge.compile(package, cache=None, key="headtail-test")
    shutil.rmtree(found)
    with suppress(OSError):  # somebody else's compiled models stay
        found.parent.rmdir()
    assert found.name == "headtail-test.mlmodelc"
    assert found.parent.name == "headtail-coreml"


def test_another_interface_is_refused(library, tmp_path):
    """A bridge that is newer than this Headtail."""
    names = ("system", "footprint", "compile", "open", "describe", "predict", "close")
    source, library = tmp_path / "newer.c", tmp_path / "newer.so"
    functions = [f"int headtail_coreml_{name}(void) {{ return 0; }}" for name in names]
    source.write_text("\n".join([*functions, "int headtail_coreml_abi(void) { return 2; }"]))
    subprocess.run(["gcc", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    with pytest.raises(RuntimeUnavailable, match=r"has interface 2.*speaks interface 1.*Build"):
        open_bridge(library)


@pytest.mark.slow
def test_sanitizers_find_nothing(tmp_path):
    """AddressSanitizer and UndefinedBehaviorSanitizer watch 4,000 wrong and right calls."""
    flags = "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"
    library = build(tmp_path, *flags)
    names = ("libasan.so", "libubsan.so")
    found = [
        subprocess.check_output(["gcc", f"-print-file-name={name}"], text=True).strip()
        for name in names
    ]
    require(all(map(os.path.isabs, found)), f"gcc has no {names}")
    done = subprocess.run(
        [sys.executable, "-m", "tests.coreml_fake.fuzz", str(library), str(tmp_path), "4000"],
        cwd=ROOT,
        env={**os.environ, "LD_PRELOAD": " ".join(found), "ASAN_OPTIONS": "detect_leaks=0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Status.OK" in done.stdout

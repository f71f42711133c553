"""Core ML through the real bridge; the framework below it is a stand-in (tests/coreml_fake)."""

import gc
import re
import threading

import numpy as np
import pytest

from headtail.errors import (
    ConversionFailed,
    EnvironmentFault,
    IntegrityFault,
    RuntimeUnavailable,
    TensorMismatch,
    UnknownName,
)
from headtail.runtimes.coreml_bridge import CoreMLBridge
from headtail.tensors import TensorSpec
from tests.coreml_fake.framework import FakeCoreML, built
from tests.coreml_fake.heap import heap_in_use
from tests.coreml_fake.packages import facts, feature, write_package

# outputs sort as add < scale, and stand the other way round in file and manifest
FORWARD = {
    "inputs": [feature("zeta", 2, 3), feature("alpha", 2, 3)],
    "outputs": [feature("scale", 2, 3), feature("add", 2, 3)],
}
HEAD = {"inputs": FORWARD["inputs"], "outputs": [feature("cut", 3)]}
INPUTS = (TensorSpec("zeta", "f32", (2, 3)), TensorSpec("alpha", "f32", (2, 3)))
ENTRIES = {
    "forward": (
        INPUTS,
        (TensorSpec("output_0", "f32", (2, 3)), TensorSpec("output_1", "f32", (2, 3))),
    ),
    "head_cut": (INPUTS, (TensorSpec("cut", "f32", (3,)),)),
}
ZETA = np.arange(6, dtype=np.float32).reshape(2, 3)
ALPHA = np.full((2, 3), 10, np.float32)


def compute(path, function, inputs):
    zeta, alpha = inputs["zeta"], inputs["alpha"]
    if function == "head_cut":
        return [zeta.sum(0) - alpha.sum(0)]
    return [zeta * 2, zeta + alpha]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return built(tmp_path_factory.getbasetemp())


@pytest.fixture
def fake(library):
    fake = FakeCoreML(library)
    fake.interpret(facts, compute)
    fake.set_functions(there=True)
    yield fake
    if fake.alive():
        gc.collect()  # an exception's traceback may still hold a session
    assert fake.alive() == 0, "objects of Core ML were not freed"


@pytest.fixture
def package(tmp_path):
    return write_package(
        tmp_path / "net.mlpackage", {"head_cut": HEAD, "forward": FORWARD}, default="forward"
    )


@pytest.fixture
def runtime(fake, tmp_path):
    return CoreMLBridge(fake.library, cache=tmp_path / "caches")


def test_each_entry_point_computes_in_the_manifests_order(runtime, package):
    session = runtime.load(package, entries=ENTRIES)
    scaled, added = session.run("forward", [ZETA, ALPHA])
    np.testing.assert_array_equal(scaled, ZETA * 2)
    np.testing.assert_array_equal(added, ZETA + ALPHA)
    (cut,) = session.run("head_cut", [ZETA, ALPHA])
    np.testing.assert_array_equal(cut, [-17, -15, -13])
    session.close()


def test_tensors_of_the_same_names_are_put_in_the_manifests_order(runtime, package):
    alpha_first = tuple(reversed(INPUTS))
    outputs = (TensorSpec("add", "f32", (2, 3)), TensorSpec("scale", "f32", (2, 3)))
    session = runtime.load(package, entries={"forward": (alpha_first, outputs)})
    added, scaled = session.run("forward", [ALPHA, ZETA])
    np.testing.assert_array_equal(scaled, ZETA * 2)
    np.testing.assert_array_equal(added, ZETA + ALPHA)
    session.close()


def test_inputs_are_read_where_they_lie(runtime, fake, package):
    seen = {}

    def look(path, function, inputs):
        seen.update({name: array.ctypes.data for name, array in inputs.items()})
        return compute(path, function, inputs)

    fake.interpret(facts, look)
    session = runtime.load(package, entries=ENTRIES)
    session.run("forward", [ZETA, ALPHA])
    assert seen == {"zeta": ZETA.ctypes.data, "alpha": ALPHA.ctypes.data}
    session.close()


@pytest.mark.parametrize(
    "more",
    [
        {"strides": [16, 1]},  # rows on 64-byte boundaries, as the Neural Engine gives them
        {"strides": [1, 2]},  # last axis first
        {"strides": [40, 5]},
        {"returned": "float16"},
        {"dtype": "float16", "strides": [32, 2]},
        {"dtype": "int32"},
    ],
    ids=str,
)
def test_results_of_any_layout_and_type_come_out_dense(runtime, tmp_path, more):
    functions = {
        "forward": {**FORWARD, "outputs": [feature("scale", 2, 3, **more), feature("add", 2, 3)]}
    }
    path = write_package(tmp_path / "odd.mlpackage", functions)
    wanted = "i32" if more.get("dtype") == "int32" else "f32"
    outputs = (TensorSpec("scale", wanted, (2, 3)), TensorSpec("add", "f32", (2, 3)))
    session = runtime.load(path, entries={"forward": (INPUTS, outputs)})
    scaled, added = session.run("forward", [ZETA, ALPHA])
    np.testing.assert_array_equal(scaled, ZETA * 2)
    np.testing.assert_array_equal(added, ZETA + ALPHA)
    assert scaled.flags.c_contiguous
    session.close()


def test_inputs_are_given_in_the_type_of_the_model(runtime, fake, tmp_path):
    functions = {
        "forward": {
            "inputs": [feature("x", 4, dtype="float16"), feature("ids", 2, dtype="int32")],
            "outputs": [feature("y", 1, dtype="int32")],
        }
    }
    types = {}

    def look(path, function, inputs):
        types.update({name: array.dtype.name for name, array in inputs.items()})
        return [inputs["x"].sum() + inputs["ids"].sum()]

    fake.interpret(facts, look)
    entry = (
        (TensorSpec("x", "f32", (4,)), TensorSpec("ids", "i32", (2,))),
        (TensorSpec("y", "i32", ()),),  # Core ML has no rank 0
    )
    path = write_package(tmp_path / "half.mlpackage", functions)
    session = runtime.load(path, entries={"forward": entry})
    (y,) = session.run("forward", [np.ones(4, np.float32), np.array([2, 3], np.int32)])
    assert types == {"x": "float16", "ids": "int32"}
    assert y.shape == ()
    assert y == 9
    session.close()


@pytest.mark.parametrize(("accelerator", "units"), [("cpu", 0), ("gpu", 1), ("npu", 3)])
def test_accelerators_are_compute_units(runtime, fake, package, accelerator, units):
    runtime.load(package, entries=ENTRIES, accelerator=accelerator).close()
    assert fake.units() == units


def test_a_package_is_compiled_once_for_its_content(runtime, fake, package, tmp_path):
    before = fake.compiles()
    runtime.load(package, entries=ENTRIES).close()
    (compiled,) = (tmp_path / "caches").iterdir()
    assert re.split(r"\W+", runtime.probe().version)[-1] in compiled.name  # another system, anew
    runtime.load(package, entries=ENTRIES).close()
    elsewhere = package.rename(tmp_path / "moved.mlpackage")
    runtime.load(elsewhere, entries=ENTRIES).close()
    assert fake.compiles() == before + 1
    (elsewhere / "Data" / "weights.bin").write_bytes(b"other weights")
    runtime.load(elsewhere, entries=ENTRIES).close()
    assert fake.compiles() == before + 2


def test_what_the_system_cleared_from_the_caches_is_compiled_again(runtime, package, tmp_path):
    runtime.load(package, entries=ENTRIES).close()
    (compiled,) = (tmp_path / "caches").iterdir()
    (compiled / "Data" / "facts.json").unlink()
    session = runtime.load(package, entries=ENTRIES)
    np.testing.assert_array_equal(session.run("forward", [ZETA, ALPHA])[0], ZETA * 2)
    session.close()


def test_caches_that_cannot_be_written_are_told(fake, package, tmp_path):
    (tmp_path / "taken").write_bytes(b"a file")
    runtime = CoreMLBridge(fake.library, cache=tmp_path / "taken" / "caches")
    with pytest.raises(EnvironmentFault, match=r"net\.mlpackage cannot be kept.*Free some memory"):
        runtime.load(package, entries=ENTRIES)


def test_what_core_ml_says_is_told(runtime, fake, package):
    def refuse(path, function):
        raise OSError("Error in declaring network: ü")

    fake.interpret(refuse, compute)
    with pytest.raises(IntegrityFault, match=r"net\.mlpackage: Error in declaring network: ü"):
        runtime.load(package, entries=ENTRIES)


@pytest.mark.parametrize("kind", [OSError, RuntimeError], ids=["NSError", "NSException"])
def test_a_failed_prediction_is_an_error_and_the_session_goes_on(runtime, fake, package, kind):
    def failing(path, function, inputs):
        if inputs["zeta"].max() > 100:
            raise kind("the plan cannot be executed")
        return compute(path, function, inputs)

    fake.interpret(facts, failing)
    session = runtime.load(package, entries=ENTRIES)
    with pytest.raises(ConversionFailed, match=r"net\.mlpackage, forward: .*plan cannot be exec"):
        session.run("forward", [ZETA * 100, ALPHA])
    np.testing.assert_array_equal(session.run("forward", [ZETA, ALPHA])[0], ZETA * 2)
    session.close()


def test_a_class_label_is_no_tensor(runtime, tmp_path):
    functions = {
        "forward": {**FORWARD, "outputs": [{"name": "label", "shape": [1]}, feature("add", 2, 3)]}
    }
    path = write_package(tmp_path / "label.mlpackage", functions)
    with pytest.raises(TensorMismatch, match=r"label is no multi-array"):
        runtime.load(path, entries={"forward": ENTRIES["forward"]})


def test_a_larger_result_than_the_manifest_says_is_refused(runtime, fake, tmp_path):
    fake.interpret(facts, lambda *_: [np.ones((4, 3)), np.ones((2, 3))])
    functions = {"forward": {**FORWARD, "outputs": [feature("scale", 4, 3), feature("add", 2, 3)]}}
    path = write_package(tmp_path / "large.mlpackage", functions)
    session = runtime.load(path, entries={"forward": ENTRIES["forward"]})
    with pytest.raises(TensorMismatch, match=r"scale is 48 bytes .*4x3.*room for 24"):
        session.run("forward", [ZETA, ALPHA])
    session.close()


def test_an_entry_point_that_the_package_lacks(runtime, package):
    with pytest.raises(UnknownName, match=r"'head_cit'.*Did you mean 'head_cut'"):
        runtime.load(package, entries={"head_cit": ENTRIES["head_cut"]})


def test_another_manifest_is_told_before_anything_is_compiled(runtime, fake, package):
    before = fake.compiles()
    inputs, outputs = ENTRIES["forward"]
    with pytest.raises(TensorMismatch, match=r"forward has 2 outputs.*describes 1"):
        runtime.load(package, entries={"forward": (inputs, outputs[:1])})
    assert fake.compiles() == before


def test_a_system_without_functions_is_told(runtime, fake, package):
    fake.set_functions(there=False)
    capability = runtime.probe()
    assert not capability.available
    assert "several functions: iOS 18 or macOS 15. Update the system" in capability.reason
    with pytest.raises(RuntimeUnavailable, match="iOS 18 or macOS 15"):
        runtime.load(package, entries=ENTRIES)


def test_a_probe_names_the_system_or_says_what_is_missing(runtime, tmp_path):
    assert runtime.probe().available
    assert runtime.probe().version
    unlinked = CoreMLBridge().probe()
    assert not unlinked.available
    assert "not in this app" in unlinked.reason
    assert "ios/README.md" in unlinked.reason
    (tmp_path / "text.dylib").write_text("no library")
    for library in (tmp_path / "absent.dylib", tmp_path / "text.dylib"):
        assert "cannot be loaded" in CoreMLBridge(library).probe().reason


def test_only_times_on_a_phone_are_a_devices(monkeypatch):
    monkeypatch.delenv("KIVY_BUILD", raising=False)
    assert CoreMLBridge().timing_kind == "host"  # a Mac
    monkeypatch.setenv("KIVY_BUILD", "ios")
    assert CoreMLBridge().timing_kind == "device"
    monkeypatch.setenv("SIMULATOR_UDID", "5C5D")
    assert CoreMLBridge().timing_kind == "host"


def test_a_path_may_hold_any_character(runtime, package, tmp_path):
    odd = package.rename(tmp_path / "nét 網 %20 'x'.mlpackage")
    session = runtime.load(odd, entries=ENTRIES)
    np.testing.assert_array_equal(session.run("forward", [ZETA, ALPHA])[0], ZETA * 2)
    session.close()


def test_threads_take_turns_in_one_model(runtime, fake, package):
    session = runtime.load(package, entries=ENTRIES)
    wrong = []

    def work(factor):
        mine = ZETA * factor
        for _ in range(50):
            if not np.array_equal(session.run("forward", [mine, ALPHA])[0], mine * 2):
                wrong.append(factor)

    threads = [threading.Thread(target=work, args=(factor,)) for factor in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    session.close()
    assert not wrong
    assert fake.at_once() == 1


def test_a_forgotten_session_is_freed(runtime, fake, package):
    session = runtime.load(package, entries=ENTRIES)
    assert fake.alive() > 0
    del session
    assert fake.alive() == 0


def test_predictions_take_no_memory(runtime, package):
    """Two rounds of the same: what the second adds to the heap is a leak."""
    session = runtime.load(package, entries=ENTRIES)

    def heap_after(runs):
        for _ in range(runs):
            session.run("forward", [ZETA, ALPHA])
        return heap_in_use()

    heap_after(200)
    first = heap_after(1000)
    assert abs(heap_after(1000) - first) < 20_000  # one object of 32 bytes for each run is 32,000
    session.close()

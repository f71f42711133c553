"""Core ML by coremltools, as far as it can be told without a Mac.

The session contract is in test_coreml_contract.py.
"""

import importlib.util
import sys

import numpy as np
import pytest

from headtail.errors import ConversionFailed, RuntimeUnavailable, UnknownName
from headtail.runtimes.coreml_desk import CoreMLDesk
from headtail.tensors import TensorSpec
from tests.coreml_fake.packages import feature, write_package
from tests.support.capabilities import require

FUNCTIONS = {
    "forward": {
        "inputs": [feature("b", 2), feature("a", 1)],
        "outputs": [feature("z", 2), feature("y", 1)],
    },
    "head_cut": {"inputs": [feature("b", 2), feature("a", 1)], "outputs": [feature("cut", 2)]},
}
INPUTS = (TensorSpec("b", "f32", (2,)), TensorSpec("a", "f32", ()))
ENTRIES = {
    "forward": (INPUTS, (TensorSpec("o0", "f32", (2,)), TensorSpec("o1", "f32", ()))),
    "head_cut": (INPUTS, (TensorSpec("cut", "f32", (2,)),)),
}


class Model:
    """Stands in for `coremltools.models.MLModel`, which predicts on a Mac only."""

    opened: list[tuple[str | None, str]] = []  # noqa: RUF012  # emptied by each test

    def __init__(self, path, function, units):
        self.function = function
        Model.opened.append((function, units))

    def predict(self, data):
        if np.isnan(data["b"]).any():
            raise RuntimeError("Error computing NN outputs.")
        if self.function == "head_cut":
            return {"cut": data["b"] - data["a"]}
        return {"y": data["a"].astype(np.float16) * 3, "z": data["b"] * 2}


@pytest.fixture
def package(tmp_path):
    Model.opened.clear()
    return write_package(tmp_path / "net.mlpackage", FUNCTIONS)


def test_results_come_in_the_manifests_order_and_types(package):
    session = CoreMLDesk(Model).load(package, entries=ENTRIES, accelerator="gpu")
    assert Model.opened == [(None, "CPU_AND_GPU"), ("head_cut", "CPU_AND_GPU")]
    b, a = np.array([1, 2], np.float32), np.array(5, np.float32)
    first, second = session.run("forward", [b, a])
    np.testing.assert_array_equal(first, [2, 4])
    assert f"{second.dtype}{second.shape} {second}" == "float32() 15.0"
    np.testing.assert_array_equal(session.run("head_cut", [b, a])[0], [-4, -3])
    session.close()


def test_what_core_ml_says_is_told(package):
    session = CoreMLDesk(Model).load(package, entries=ENTRIES)
    with pytest.raises(ConversionFailed, match=r"net\.mlpackage, forward: Error computing NN outp"):
        session.run("forward", [np.full(2, np.nan, np.float32), np.array(5, np.float32)])


def test_an_entry_point_that_the_package_lacks(package):
    with pytest.raises(UnknownName, match=r"'head_cit'.*Did you mean 'head_cut'"):
        CoreMLDesk(Model).load(package, entries={"head_cit": ENTRIES["head_cut"]})


@pytest.mark.skipif(sys.platform == "darwin", reason="a Mac has Core ML")
def test_elsewhere_than_on_a_mac_the_probe_says_so(package):
    assert "macOS and iOS only" in CoreMLDesk().probe().reason
    with pytest.raises(RuntimeUnavailable, match="macOS and iOS only"):
        CoreMLDesk().load(package, entries=ENTRIES)


@pytest.mark.parametrize(("system", "there"), [("14.7.1", False), ("15.0", True), ("26.1", True)])
def test_an_old_mac_is_told(monkeypatch, system, there):
    require(importlib.util.find_spec("coremltools") is not None, "coremltools is not installed")
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr("platform.mac_ver", lambda: (system, ("", "", ""), "arm64"))
    capability = CoreMLDesk().probe()
    assert capability.available is there
    assert there or "This is macOS 14.7.1; several functions in one file need macOS 15" in (
        capability.reason
    )

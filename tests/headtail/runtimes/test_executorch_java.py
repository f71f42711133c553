"""ExecuTorch's Java adapter on the real Java classes, both API generations, two pyjnius."""

import importlib.util
import json

import pytest

from headtail.errors import IntegrityFault, UnknownName
from headtail.runtimes.executorch_java import ExecuTorchJava
from headtail.runtimes.pte_file import read_pte
from headtail.tensors import TensorSpec
from tests.exporters.converted import converted
from tests.headtail.runtimes.java_process import stored
from tests.java.toolchain import PHONE_PYJNIUS, PYJNIUS, REACT_NATIVE_EXECUTORCH, executorch_jvm
from tests.support.capabilities import require


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return converted(tmp_path_factory.getbasetemp(), "executorch", "Ordered")


def told(jvm, folder):
    said = jvm.run("tests.headtail.runtimes.java_process", "executorch", str(folder))
    return json.loads(said.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("classes", REACT_NATIVE_EXECUTORCH)
@pytest.mark.parametrize("pyjnius", PYJNIUS)
def test_the_session_keeps_the_contract(made, tmp_path, pyjnius, classes):
    jvm = executorch_jvm(pyjnius=pyjnius, classes=classes)
    found = told(jvm, stored(made, tmp_path / "stored"))
    assert len(found) > 12
    assert not [f"{check}\n{error}" for check, error in found.items() if error]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Tokens", "HalfInput"])
def test_other_dtypes_than_float32(tmp_path_factory, tmp_path, name):
    made = converted(tmp_path_factory.getbasetemp(), "executorch", name)
    assert {spec.dtype for spec in made.entries["forward"][0]} <= {"i64", "f16", "i32"}
    jvm = executorch_jvm(pyjnius=PHONE_PYJNIUS, classes=REACT_NATIVE_EXECUTORCH[-1])
    found = told(jvm, stored(made, tmp_path / "stored"))
    assert not found["check_right_results"]


@pytest.mark.slow
def test_methods_are_read_from_the_file(made, tmp_path):
    found = read_pte(made.path)
    counts = {name: (len(inputs), len(outputs)) for name, (inputs, outputs) in found.items()}
    assert counts == {name: (len(i), len(o)) for name, (i, o) in made.entries.items()}
    data = made.path.read_bytes()
    for length in range(0, len(data) - 16, max(1, len(data) // 97)):
        (tmp_path / "cut.pte").write_bytes(data[:length])
        with pytest.raises(IntegrityFault, match=r"cut.pte is not a whole .pte file"):
            read_pte(tmp_path / "cut.pte")


def test_without_java_it_says_so(tmp_path):
    require(importlib.util.find_spec("jnius") is None, "pyjnius is installed: here Java is there")
    capability = ExecuTorchJava().probe()
    assert not capability.available
    assert "no Java here" in capability.reason
    assert "build the app with pyjnius" in capability.reason


def test_a_dtype_that_java_lacks_is_refused(tmp_path):
    flag = (TensorSpec("flag", "bool", (1,)),)
    with pytest.raises(UnknownName, match=r"dtype of executorch-java 'bool'.*f16, f32"):
        ExecuTorchJava().load(tmp_path / "net.pte", entries={"forward": (flag, flag)})


def test_the_file_is_looked_at_before_java(tmp_path):
    (tmp_path / "net.pte").write_bytes(b"\0" * 64)
    with pytest.raises(IntegrityFault, match="does not say ET12"):
        ExecuTorchJava().load(tmp_path / "net.pte", entries={})

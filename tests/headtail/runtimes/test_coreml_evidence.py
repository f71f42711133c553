"""Every class, selector and constant that the bridge uses is Apple's, as macOS wheels show."""

import re
import subprocess
from pathlib import Path

import pytest

from headtail.runtimes.coreml_bridge import UNITS
from headtail.runtimes.coreml_library import DTYPES
from tests.coreml_fake.evidence import Method, declared, read_evidence
from tests.coreml_fake.framework import compiling

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
HEADER = (ROOT / "tests" / "coreml_fake" / "CoreML" / "CoreML.h").read_text()


@pytest.fixture(scope="module")
def evidence():
    return read_evidence()


def test_every_declared_method_is_one_of_core_mls(evidence):
    methods = declared(HEADER)
    assert len(methods) == 21
    assert [method for method in methods if not evidence.knows(method)] == []


def test_every_declared_class_is_one_of_core_mls(evidence):
    """Descriptions are only ever returned: no library here names those two classes."""
    classes = set(re.findall(r"^@interface (\w+)", HEADER, re.M))
    returned = {"MLMultiArrayConstraint", "MLFeatureDescription", "MLModelDescription"}
    assert {name for name in classes if not evidence.has_class(name)} <= returned


def test_every_declared_constant_has_apples_value(evidence):
    constants = dict(re.findall(r"^    (ML\w+) = (\d+),", HEADER, re.M))
    assert len(constants) == 8
    assert {name: evidence.constants[name] for name in constants} == {
        name: int(value) for name, value in constants.items()
    }


def test_pythons_numbers_are_apples(evidence):
    widths = {"float16": "Float16", "float32": "Float32", "float64": "Float64", "int32": "Int32"}
    for code, dtype in DTYPES.items():
        assert evidence.constants[f"MLMultiArrayDataType{widths[dtype.name]}"] == code
    names = {"cpu": "CPUOnly", "gpu": "CPUAndGPU", "npu": "CPUAndNeuralEngine"}
    for accelerator, units in UNITS.items():
        assert evidence.constants[f"MLComputeUnits{names[accelerator]}"] == units


@pytest.mark.parametrize(
    "wrong",
    [
        Method("MLModel", "modelWithContentOfURL:configuration:error:", 2),
        Method("MLModel", "compileModelAtURL:error:", None),  # the error is an argument
        Method("MLModelConfiguration", "setFunctionname:", None),
        Method("MLModel", "setComputeUnit:", None),
    ],
)
def test_the_evidence_can_say_no(evidence, wrong):
    assert not evidence.knows(wrong)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("setFunctionName:function", "setFunctionname:function"),
        ("@selector(setFunctionName:)", "@selector(setFunctionnames:)"),
        ("MLComputeUnitsCPUOnly", "MLComputeUnitsCpuOnly"),
    ],
)
def test_a_misspelt_name_does_not_compile(tmp_path, right, wrong):
    source = (ROOT / "ios" / "coreml_bridge.m").read_text()
    assert right in source
    misspelt = tmp_path / "misspelt.m"
    misspelt.write_text(source.replace(right, wrong))
    command = compiling("-fsyntax-only", str(misspelt))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert wrong.split(":")[0].removeprefix("@selector(") in done.stderr

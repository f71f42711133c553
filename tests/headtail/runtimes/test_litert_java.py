"""LiteRT's Java adapter on a stand-in of LiteRT's Java classes, with LiteRT's real kernels below.

The classes are on no registry that is reached from here. So that the stand-in cannot have what the
real ones lack, its public methods are compared with the JVM descriptors of LiteRT's Kotlin sources,
written down from `litert/kotlin/src/main/kotlin/com/google/ai/edge/litert/{Model,TensorBuffer}.kt`
of https://github.com/google-ai-edge/LiteRT at v2.1.0, v2.1.6 and v2.2.0, where they are the same.
"""

import json
import re
import shutil
import subprocess

import pytest

from headtail.errors import UnknownName
from headtail.runtimes.litert_desk import LiteRTDesk
from headtail.runtimes.litert_java import LiteRTJava
from tests.headtail.runtimes.java_process import stored
from tests.java.toolchain import PYJNIUS, litert_jvm
from tests.support.capabilities import require

L = "Lcom/google/ai/edge/litert"
KOTLIN = {
    "CompiledModel": {
        f"create (Ljava/lang/String;{L}/CompiledModel$Options;){L}/CompiledModel;",
        f"createInputBuffer (Ljava/lang/String;Ljava/lang/String;){L}/TensorBuffer;",
        f"createOutputBuffer (Ljava/lang/String;Ljava/lang/String;){L}/TensorBuffer;",
        "run (Ljava/util/Map;Ljava/util/Map;Ljava/lang/String;)V",
    },
    "CompiledModel$Options": {
        "<init> (Ljava/util/Set;)V",
        f"<init> ([{L}/Accelerator;)V",
        f"setCpuOptions ({L}/CompiledModel$CpuOptions;)V",
    },
    "CompiledModel$CpuOptions": {
        "<init> (Ljava/lang/Integer;Ljava/lang/Integer;Ljava/lang/String;)V"
    },
    "TensorBuffer": {
        "writeInt ([I)V",
        "writeFloat ([F)V",
        "writeInt8 ([B)V",
        "writeBoolean ([Z)V",
        "writeLong ([J)V",
        "readInt ()[I",
        "readFloat ()[F",
        "readInt8 ()[B",
        "readBoolean ()[Z",
        "readLong ()[J",
    },
    "JniHandle": {"close ()V"},
    "Accelerator": {f"values ()[{L}/Accelerator;", f"valueOf (Ljava/lang/String;){L}/Accelerator;"},
}


def public_methods(classpath, name):
    """`javap` of a class: name and descriptor of each public method and constructor."""
    require(shutil.which("javap") is not None, "javap is not installed (default-jdk-headless)")
    full = f"com.google.ai.edge.litert.{name}"
    said = subprocess.run(
        ["javap", "-public", "-s", "-cp", classpath, full],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    found = re.findall(r"([\w.$]+)\([^)]*\).*;\n\s+descriptor: (\S+)", said)
    return {f"{'<init>' if own == full else own} {descriptor}" for own, descriptor in found}


@pytest.mark.slow
@pytest.mark.parametrize("name", KOTLIN)
def test_the_stand_in_has_the_methods_of_the_real_classes_and_no_other(name):
    (classes,) = litert_jvm(pyjnius=PYJNIUS[0]).classpath
    assert public_methods(str(classes), name) == KOTLIN[name]


@pytest.mark.slow
@pytest.mark.parametrize("pyjnius", PYJNIUS)
def test_the_session_keeps_the_contract(ordered_litert, tmp_path, pyjnius):
    jvm = litert_jvm(pyjnius=pyjnius)
    folder = stored(ordered_litert, tmp_path / "stored")
    said = jvm.run("tests.headtail.runtimes.java_process", "litert", str(folder))
    found = json.loads(said.splitlines()[-1])
    assert len(found) > 12
    assert not [f"{check}\n{error}" for check, error in found.items() if error]


@pytest.mark.slow
def test_files_that_speak_int8_are_converted_at_the_border(ordered_litert, in_codes, tmp_path):
    """Java tells no scale: it is read from the file, and the results are the interpreter's."""

    class Desk:
        path = in_codes
        entries = ordered_litert.entries
        inputs = ordered_litert.inputs
        session = LiteRTDesk().load(in_codes, entries=ordered_litert.entries)

        def expected(self, entry):
            return self.session.run(entry, self.inputs)

    folder = stored(Desk(), tmp_path / "stored")
    jvm = litert_jvm(pyjnius=PYJNIUS[0])
    said = jvm.run("tests.headtail.runtimes.java_process", "litert", str(folder))
    assert not json.loads(said.splitlines()[-1])["check_right_results"]


def test_the_npu_is_not_offered(tmp_path):
    """Asked for the npu alone, LiteRT's Java API adds the cpu by itself."""
    with pytest.raises(UnknownName, match=r"accelerator of litert-java 'npu'.*Known: cpu, gpu"):
        LiteRTJava().load(tmp_path / "net.tflite", entries={}, accelerator="npu")

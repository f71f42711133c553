"""Android's reader on the Java classes of the very version that the APK is built with."""

import importlib.util
import json
import re
import zipfile
from pathlib import Path

import pytest

from app.scanning.zxing_java import PACKAGE, ZXingJava
from tests.app.scanning.reader_contract import CHECKS
from tests.java.toolchain import PYJNIUS, Jvm
from tests.support.capabilities import require

SPEC = (Path(__file__).parents[3] / "app" / "buildozer.spec").read_text()
VERSION = re.findall(rf"{re.escape(PACKAGE)}:([\w.]+)", SPEC)[0]
JAR = Path(f"/usr/share/java/core-{VERSION}.jar")  # Debian's libzxing-core-java


@pytest.fixture(scope="module")
def jar():
    require(JAR.is_file(), f"no {JAR}: apt-get install libzxing-core-java")
    return JAR


@pytest.mark.slow
@pytest.mark.parametrize("pyjnius", PYJNIUS)
def test_it_keeps_the_contract(jar, pyjnius):
    told = Jvm(pyjnius, (jar,), ()).run("tests.app.scanning.java_process")
    found = json.loads(told.splitlines()[-1])
    assert len(found) == len(CHECKS) + 2
    assert not [f"{check}\n{error}" for check, error in found.items() if error]


def test_it_needs_nothing_that_android_7_lacks(jar):
    """Java 8 classes, which D8 takes; of what they name, API 24 has all but desktop packages."""
    with zipfile.ZipFile(jar) as archive:
        classes = [archive.read(name) for name in archive.namelist() if name.endswith(".class")]
    assert {int.from_bytes(data[6:8], "big") for data in classes} == {52}
    named = {name for data in classes for name in re.findall(rb"javax?/[a-z]+(?:/[a-z]+)*/", data)}
    allowed = {b"java/io/", b"java/lang/", b"java/math/", b"java/net/", b"java/text/"}
    allowed |= {b"java/util/", b"java/util/regex/", b"java/nio/charset/"}
    assert named <= allowed
    assert re.search(r"^android\.minapi = 24$", SPEC, re.MULTILINE)  # List.sort came with it


def test_without_java_it_says_what_the_app_was_built_without():
    require(importlib.util.find_spec("jnius") is None, "pyjnius is installed: here Java is there")
    capability = ZXingJava().probe()
    assert not capability.available
    assert "no Java here" in capability.reason

"""The Gradle project that the tools really write from our spec, and its manifest through aapt2."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ET
from importlib.util import find_spec
from pathlib import Path

import pytest

from headtail.runtimes.litert_desk import LiteRTDesk
from headtail.stage import stage
from tests.app.android_project import CHECKOUT
from tests.support.capabilities import require

pytestmark = pytest.mark.slow

FRAMEWORK = Path("/usr/share/android-framework-res/framework-res.apk")  # Debian's: API 29
OPT_OUT = "android:windowOptOutEdgeToEdgeEnforcement"
# classes of the platform itself; no shrinker touches them
PLATFORM_CLASSES = ("android.", "dalvik.", "java.", "javax.")
CLASS_NAME = re.compile(r"\"((?:[a-z_]\w*\.){2,}[A-Z][\w$]*)\"")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    for name in ("buildozer", "pythonforandroid"):
        require(
            find_spec(name) is not None, f"{name} is not installed: pip install 'headtail[dev]'"
        )
    folder: Path = tmp_path_factory.mktemp("android")
    done = subprocess.run(
        [sys.executable, "-m", "tests.app.android_project", str(folder)],
        cwd=CHECKOUT,
        env={**os.environ, "BUILDOZER_WARN_ON_ROOT": "0", "HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return folder / "project"


def aapt2(*arguments: object) -> str:
    done = subprocess.run(
        ["aapt2", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def linked(project, tmp_path_factory) -> Path:
    """An APK of the manifest, the resources and the packed payload, without any code."""
    require(
        shutil.which("aapt2") is not None and FRAMEWORK.is_file(),
        "aapt2 is not installed: apt-get install aapt android-framework-res",
    )
    folder: Path = tmp_path_factory.mktemp("linked")
    resources = folder / "res"
    shutil.copytree(project / "src/main/res", resources)
    shutil.rmtree(resources / "values-v35")  # names an attribute that this framework does not have
    text = (project / "src/main/AndroidManifest.xml").read_text()
    # Gradle's plugin writes the namespace of build.gradle in as the package
    (package,) = re.findall(r"namespace '(.*)'", (project / "build.gradle").read_text())
    manifest = folder / "AndroidManifest.xml"
    manifest.write_text(text.replace("<manifest ", f'<manifest package="{package}" ', 1))
    aapt2("compile", "--dir", resources, "-o", folder / "res.zip")
    apk = folder / "headtail.apk"
    assets = project / "src/main/assets"
    options = ["-I", FRAMEWORK, "--manifest", manifest, "-A", assets, "-o", apk]
    aapt2("link", *options, folder / "res.zip")
    return apk


def test_the_apk_says_who_it_is_and_where_it_runs(linked):
    badging = aapt2("dump", "badging", linked)
    assert "package: name='org.headtail.headtail'" in badging
    assert "sdkVersion:'24'" in badging
    assert "targetSdkVersion:'35'" in badging
    assert "application-label:'Headtail'" in badging
    assert "launchable-activity: name='org.kivy.android.PythonActivity'" in badging


def test_the_permissions_are_the_network_and_the_camera_and_no_camera_is_no_hindrance(linked):
    asked = re.findall(r"uses-permission: name='(.*)'", aapt2("dump", "permissions", linked))
    assert asked == ["android.permission.INTERNET", "android.permission.CAMERA"]
    badging = aapt2("dump", "badging", linked)
    assert re.findall(r"uses-feature: name='(.*)'", badging) == []
    assert "uses-feature-not-required: name='android.hardware.camera'" in badging


def test_cleartext_and_backup_are_off(linked):
    tree = aapt2("dump", "xmltree", "--file", "AndroidManifest.xml", linked)
    assert re.search(r"usesCleartextTraffic\(\w+\)=false", tree)
    assert re.search(r"allowBackup\(\w+\)=false", tree)


def test_a_pairing_link_opens_the_app_that_already_runs(linked):
    tree = aapt2("dump", "xmltree", "--file", "AndroidManifest.xml", linked)
    assert re.search(r"launchMode\(\w+\)=2", tree)  # singleTask
    link = tree[tree.rindex("E: intent-filter") :]
    values = re.findall(r"(?:name|scheme|host)\(\w+\)=\"(.*?)\"", link)
    intent = "android.intent."
    assert values == [
        f"{intent}action.VIEW",
        f"{intent}category.DEFAULT",
        f"{intent}category.BROWSABLE",
        "headtail",
        "pair",
    ]


def test_turning_the_phone_does_not_start_the_app_anew(linked):
    tree = aapt2("dump", "xmltree", "--file", "AndroidManifest.xml", linked)
    (changes,) = re.findall(r"configChanges\(\w+\)=(0x\w+)", tree)
    # https://developer.android.com/reference/android/R.attr#configChanges
    wanted = {"orientation": 0x80, "uiMode": 0x200, "screenSize": 0x400, "fontScale": 0x40000000}
    assert [name for name, bit in wanted.items() if not int(changes, 16) & bit] == []


def test_the_payload_is_packed_whole(project, tmp_path):
    stage(tmp_path / "phone", checkout=CHECKOUT)
    staged = {p.relative_to(tmp_path / "phone") for p in tmp_path.rglob("*") if p.is_file()}
    with tarfile.open(project / "src/main/assets/private.tar") as archive:
        packed = {Path(name) for name in archive.getnames() if Path(name).suffix}
    sources = {path.with_suffix(".py") if path.suffix == ".pyc" else path for path in packed}
    assert sources - staged <= {Path("sitecustomize.py"), Path("p4a_env_vars.txt")}
    assert staged <= sources


def test_gradle_fetches_the_runtimes_that_bundles_are_proven_with(project):
    script = (project / "build.gradle").read_text()
    named = dict(re.findall(r"implementation '(.*):(.*)'", script))
    assert set(named) == {
        "com.google.ai.edge.litert:litert",
        "com.google.ai.edge.litert:litert-gpu",
        "org.pytorch:executorch-android",
        "com.google.zxing:core",
    }
    desk = LiteRTDesk().probe()
    require(desk.available, desk.reason)
    assert named["com.google.ai.edge.litert:litert"] == desk.version
    pins = (CHECKOUT / "pyproject.toml").read_text()
    assert f'"executorch=={named["org.pytorch:executorch-android"]}"' in pins


def test_the_keep_rules_are_in_the_gradle_project(project):
    assert (project / "keep.pro").read_bytes() == (CHECKOUT / "android/keep.pro").read_bytes()
    assert "proguardFiles 'keep.pro'" in (project / "build.gradle").read_text()


def kept(name: str, rules: str) -> bool:
    packages = re.findall(r"^-keep class ([\w.]+)\.\*\* \{ \*; \}$", rules, re.MULTILINE)
    assert packages
    return name.startswith(PLATFORM_CLASSES) or any(name.startswith(f"{p}.") for p in packages)


def test_every_class_that_only_python_names_is_kept(tmp_path):
    rules = (CHECKOUT / "android/keep.pro").read_text()
    stage(tmp_path / "phone", checkout=CHECKOUT)
    sources = [path.read_text() for path in tmp_path.rglob("*.py")]
    named = {name for source in sources for name in CLASS_NAME.findall(source)}
    assert [name for name in sorted(named) if not kept(name, rules)] == []
    assert kept("org.pytorch.executorch.Module", rules)
    assert not kept("com.example.Unheard", rules)


def styles(file: Path) -> dict[str, dict[str, str | None]]:
    root = ET.parse(file).getroot()
    return {
        style.attrib["name"]: {item.attrib["name"]: item.text for item in style}
        for style in root.iter("style")
    }


def test_on_api_35_the_app_stays_out_from_under_the_systems_bars(project):
    values = project / "src/main/res"
    theirs = styles(values / "values/strings.xml")
    ours = styles(values / "values-v35/style.xml")
    assert ours == {name: {**items, OPT_OUT: "true"} for name, items in theirs.items()}

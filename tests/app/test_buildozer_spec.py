"""The packaging file, read by buildozer's own parser and held against buildozer's own template."""

import re
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import pytest

import headtail
from headtail.stage import stage
from tests.support.capabilities import require

SPEC = Path(__file__).parents[2] / "app" / "buildozer.spec"
PERMISSIONS = {"android.permission.INTERNET"}
SECRET = re.compile(
    r"password|secret|token|keystore|api[_-]?key|BEGIN [A-Z ]*PRIVATE", re.IGNORECASE
)


def parsed(text):
    require(find_spec("buildozer") is not None, "buildozer is not installed: pip install buildozer")
    from buildozer.specparser import SpecParser

    parser = SpecParser()
    parser.read_string(text)
    return parser


@pytest.fixture(scope="module")
def spec():
    return parsed(SPEC.read_text())


@pytest.fixture(scope="module")
def known():
    """Every key that buildozer's template mentions, set or commented out."""
    require(find_spec("buildozer") is not None, "buildozer is not installed: pip install buildozer")
    template = files("buildozer").joinpath("default.spec").read_text()
    return set(re.findall(r"^#?\s*([a-z][\w.-]*) = ?", template, re.MULTILINE))


def unknown_keys(spec, known):
    return {key for section in spec.sections() for key in spec[section]} - known


def test_every_key_exists_in_buildozer(spec, known):
    assert {"android.minapi", "requirements", "log_level"} <= known
    assert unknown_keys(spec, known) == set()


def test_a_misspelt_key_would_be_noticed(known):
    misspelt = parsed(SPEC.read_text().replace("android.minapi", "android.min_api"))
    assert unknown_keys(misspelt, known) == {"android.min_api"}


def test_permissions_are_the_least(spec):
    assert set(spec.getlist("app", "android.permissions")) == PERMISSIONS
    assert not spec.getboolean("app", "android.allow_backup")


def test_nothing_switches_cleartext_on_and_no_secret_is_in_it():
    text = SPEC.read_text()
    assert not re.search(r"usesCleartextTraffic|network_security_config|extra_manifest", text)
    assert not SECRET.search(text)


def test_requirements_are_what_the_app_imports_and_no_more(spec):
    names = {entry.split("==")[0] for entry in spec.getlist("app", "requirements")}
    assert names == {"python3", "kivy", "numpy", "pillow", "pyjnius", "android"}


def test_models_stay_outside_and_every_staged_file_is_packed(spec, tmp_path):
    excluded = set(spec.getlist("app", "source.exclude_exts"))
    assert excluded == {"tflite", "pte", "mlpackage"}
    stage(tmp_path / "phone", checkout=SPEC.parents[1])
    staged = {path.suffix.removeprefix(".") for path in tmp_path.rglob("*") if path.is_file()}
    assert staged <= set(spec.getlist("app", "source.include_exts")) - excluded


def test_source_dir_is_where_stage_writes(spec):
    assert (SPEC.parent / spec["app"]["source.dir"]).resolve() == SPEC.parents[
        1
    ] / "build" / "phone"


def test_the_version_is_the_packages(spec):
    assert spec["app"]["version"] == headtail.__version__


def test_16_kb_pages_and_current_api(spec):
    assert int(spec["app"]["android.api"]) >= 35  # what Google Play asks of new apps
    assert spec["app"]["android.ndk"] == "28c"  # from 28 on libraries are aligned to 16 KB pages
    assert spec.getlist("app", "android.archs") == ["arm64-v8a"]
    assert '"' not in spec["app"]["android.gradle_dependencies"]

"""The packaging file, read by buildozer's own parser and held against buildozer's own template."""

import json
import re
import subprocess
import sys
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import pytest

import headtail
from headtail.stage import stage
from tests.support.capabilities import require

SPEC = Path(__file__).parents[2] / "app" / "buildozer.spec"
PERMISSIONS = {"android.permission.INTERNET", "android.permission.CAMERA"}
PURE = {"certifi", "chardet", "filetype", "idna", "requests", "six", "urllib3"}
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


def test_no_secret_is_in_it():
    assert not SECRET.search(SPEC.read_text())


def test_every_file_it_names_is_there(spec):
    paths = [value for value in spec["app"].values() if value.startswith("../android/")]
    assert len(paths) == 9
    assert [path for path in paths if not (SPEC.parent / path).exists()] == []


def test_requirements_are_what_the_app_imports_and_no_more(spec):
    names = {entry.split("==")[0] for entry in spec.getlist("app", "requirements")}
    # certifi: of the payload's main.py
    assert names == {"python3", "kivy", "numpy", "pillow", "pyjnius", "android", "certifi"}


RESOLVE = """
import json, sys
from pythonforandroid.build import Context
from pythonforandroid.graph import get_recipe_order_and_bootstrap
from pythonforandroid.recipe import Recipe
from pythonforandroid.toolchain import ToolchainCL

class Toolchain(ToolchainCL):
    def create(self, args):  # what buildozer calls; the versions asked for are in the environment
        context = Context()
        names = args.requirements.split(",")
        order, modules, bootstrap = get_recipe_order_and_bootstrap(context, names, None)
        versions = {name: Recipe.get_recipe(name, context).version for name in order}
        facts = {"versions": versions, "modules": modules, "bootstrap": bootstrap.name}
        print(json.dumps(facts), file=sys.__stdout__)

sys.stdout = sys.stderr
requirements = sys.argv.pop()
sys.argv[1:] = ["create", "--dist_name=headtail", f"--requirements={requirements}"]
Toolchain()
"""


def resolved(requirements):
    require(
        find_spec("pythonforandroid") is not None,
        "python-for-android is not installed: pip install python-for-android",
    )
    done = subprocess.run(
        [sys.executable, "-c", RESOLVE, requirements],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_python_for_android_has_a_recipe_for_all_that_is_compiled(spec):
    found = resolved(spec["app"]["requirements"])
    assert found["bootstrap"] == "sdl2"
    versions = found["versions"]
    assert versions["kivy"] == "2.3.1"
    assert versions["python3"] == "3.14.2"
    assert {"numpy", "pillow", "pyjnius", "android", "openssl"} <= set(versions)
    # what has no recipe is installed by pip, so it must be pure Python; these are kivy's own
    assert set(found["modules"]) <= PURE
    assert "certifi" in found["modules"]


def test_a_requirement_without_a_recipe_would_be_noticed():
    assert "pydantic-monty" in resolved("python3,kivy,pydantic-monty")["modules"]


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

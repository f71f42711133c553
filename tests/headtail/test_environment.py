"""What `headtail doctor` finds, on this machine and on machines made up in a folder."""

import json
import platform
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from headtail.environment import OUR_NAMES, examine, name_owners

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def install(site, name, version, *packages):
    """What pip leaves in site-packages: metadata, a record, and the packages' files."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    files = [f"{package}/__init__.py" for package in packages]
    for file in files:
        (site / file).parent.mkdir(exist_ok=True)
        (site / file).write_text("")
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))


def checks():
    return {check.name: check for check in examine()}


def test_this_machine():
    found = checks()
    assert found["python"].good
    assert found["python"].detail.startswith(platform.python_version())
    assert {f"import {name}" for name in OUR_NAMES} <= set(found)
    assert {"runtime litert", "runtime executorch"} <= set(found)
    assert {check.severity for check in found.values()} <= {"absent", "broken"}


def test_our_names_are_the_packages_of_the_wheel():
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert sorted(OUR_NAMES) == sorted(tool["hatch"]["build"]["targets"]["wheel"]["packages"])


def test_a_second_owner_of_a_name_is_named(tmp_path, monkeypatch):
    install(tmp_path, "quantizers", "1.2.2", "quantizers")
    install(tmp_path, "layer-cake", "0.1", "quantizers", "elsewhere")
    monkeypatch.syspath_prepend(tmp_path)
    assert set(name_owners("quantizers")) >= {"layer-cake", "quantizers"}
    found = checks()["import quantizers"]
    assert (found.good, found.severity) == (False, "broken")
    assert "also owned by layer-cake, quantizers" in found.detail
    assert "pip uninstall layer-cake quantizers" in found.detail
    assert checks()["import exporters"].good


def test_we_may_own_our_names(tmp_path, monkeypatch):
    install(tmp_path, "headtail", "0.1.0", *OUR_NAMES)
    monkeypatch.syspath_prepend(tmp_path)
    assert "headtail" in name_owners("quantizers")
    assert checks()["import quantizers"].good


def test_an_owner_without_a_name_is_still_an_owner(tmp_path, monkeypatch):
    install(tmp_path, "nobody", "1.0", "quantizers")
    (tmp_path / "nobody-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "without a name" in checks()["import quantizers"].detail


def pinned_torch():
    [pin] = [line for line in PROJECT["optional-dependencies"]["export"] if "torch==" in line][:1]
    assert pin.startswith("torch==")
    return pin.removeprefix("torch==")


@pytest.mark.parametrize("local", ["", "+cpu", "+cu126"])
def test_the_pinned_torch_is_good_whatever_its_build(tmp_path, monkeypatch, local):
    install(tmp_path, "torch", pinned_torch() + local, "torch")
    monkeypatch.syspath_prepend(tmp_path)
    assert checks()["torch"].good


def test_another_torch_is_broken(tmp_path, monkeypatch):
    install(tmp_path, "torch", "2.9.1+cu126", "torch")
    monkeypatch.syspath_prepend(tmp_path)
    found = checks()["torch"]
    assert (found.good, found.severity) == (False, "broken")
    assert found.detail == f"2.9.1+cu126; the converters were tried with {pinned_torch()}"


def bare_machine(site):
    """The checks of an interpreter that has nothing but numpy and what is in `site`."""
    numpy = Path(np.__file__).parent
    for folder in (numpy, numpy.with_name("numpy.libs")):
        if folder.exists():
            (site / folder.name).symlink_to(folder)
    code = (
        "import json, sys\n"
        f"sys.path += [{str(ROOT)!r}, {str(site)!r}]\n"
        "from headtail.environment import examine\n"
        "print(json.dumps([vars(check) for check in examine()]))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )
    return {check["name"]: check for check in json.loads(done.stdout)}


def test_a_bare_machine_lacks_things_and_is_not_broken(tmp_path):
    found = bare_machine(tmp_path)
    absent = {name for name, check in found.items() if not check["good"]}
    assert absent == {
        "torch", "coremltools", "litert-torch", "fastapi", "kivy",
        "runtime litert", "runtime executorch",
    }  # fmt: skip
    assert {found[name]["severity"] for name in absent} == {"absent"}
    for name, extra in (("torch", "export"), ("fastapi", "server"), ("kivy", "app")):
        assert f"pip install 'headtail[{extra}]'" in found[name]["detail"]
        assert extra in PROJECT["optional-dependencies"]


def test_a_folder_that_is_called_like_a_package_is_not_the_package(tmp_path):
    (tmp_path / "kivy").mkdir()
    (tmp_path / "kivy" / "__init__.py").write_text("")
    found = bare_machine(tmp_path)["kivy"]
    assert (found["good"], found["severity"]) == (False, "broken")
    assert "something called kivy is on sys.path" in found["detail"]

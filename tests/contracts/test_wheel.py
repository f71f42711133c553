"""The wheel holds what it should and nothing else, and its entry point loads."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # hatchling's own builder: no build environment, so no network
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("headtail-*.whl")
    return Path(built)


def test_content(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"headtail", "exporters", "quantizers", "companion_server"}
    for package in tops:
        assert f"{package}/py.typed" in names
    assert not [name for name in names if name.endswith((".pyc", ".tflite", ".pte"))]


def test_the_console_script_points_at_main(wheel):
    archive = zipfile.ZipFile(wheel)
    entry = next(n for n in archive.namelist() if n.endswith("entry_points.txt"))
    assert "headtail = headtail.cli.main:main" in archive.read(entry).decode()


def test_the_wheel_alone_answers_help(wheel, tmp_path):
    unpacked = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(unpacked)
    code = f"import sys; sys.path.insert(0, {str(unpacked)!r}); import headtail.cli.main as m; "
    done = subprocess.run(
        [sys.executable, "-c", code + "assert 'site' in m.__file__; m.main(['--help'])"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "export" in done.stdout

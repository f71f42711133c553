import ast
import io
import json
import os
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from headtail.errors import EnvironmentFault, UsageFault
from headtail.stage import DESK_ONLY, stage

CHECKOUT = Path(__file__).parents[2]
NEVER_ON_A_PHONE = [
    "ai_edge_litert",
    "click",
    "companion_server",
    "coremltools",
    "executorch",
    "exporters",
    "fastapi",
    "pydantic",
    "quantizers",
    "rich",
    "torch",
]
SIZE_LIMIT = 1_000_000  # bytes
PROBE = """
import importlib, json, sys
sys.path[:0] = json.loads(sys.argv[1])
needs_kivy = []
for module in json.loads(sys.argv[2]):
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name.split(".")[0] != "kivy":
            raise
        needs_kivy.append(module)
loaded = sorted({name.split(".")[0] for name in sys.modules})
print(json.dumps({"needs_kivy": needs_kivy, "loaded": loaded}))
"""


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def payload(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stage") / "phone"
    return folder, stage(folder, checkout=CHECKOUT)


@pytest.fixture
def phone_site(tmp_path):
    """A folder with what a phone build has of ours to import: numpy and Pillow, nothing else."""
    site = tmp_path / "site"
    site.mkdir()
    for package in ("numpy", "PIL"):
        spec = find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        home = Path(spec.origin).parent
        libraries = home.with_name({"numpy": "numpy.libs", "PIL": "pillow.libs"}[package])
        for folder in (home, libraries):
            if folder.is_dir():
                (site / folder.name).symlink_to(folder)
    return site


def modules_of(folder: Path) -> list[str]:
    names = [name.removesuffix(".py") for name in contents(folder) if name.endswith(".py")]
    return sorted(name.removesuffix("/__init__").replace("/", ".") for name in names)


def probe(paths: list[Path], modules: list[str]) -> dict[str, list[str]]:
    arguments = [json.dumps([str(path) for path in paths]), json.dumps(modules)]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", PROBE, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, list[str]] = json.loads(done.stdout)
    return answer


def test_the_payload_has_what_the_phone_needs_and_nothing_else(payload):
    folder, report = payload
    files = contents(folder)
    assert report.files == len(files)
    assert report.bytes == sum(map(len, files.values())) < SIZE_LIMIT
    assert {path.name for path in folder.iterdir()} == {"main.py", "app", "headtail"}
    assert {"app/main.py", "app/screens/live.kv", "headtail/manifest.py"} <= set(files)
    assert {Path(name).suffix for name in files} <= {".py", ".kv", ".png"}
    assert not [name for name in modules_of(folder) if name.startswith(DESK_ONLY)]


def test_the_payload_imports_with_numpy_and_pillow_alone(payload, phone_site):
    folder, _ = payload
    seen = probe([folder, phone_site], modules_of(folder))
    assert not set(seen["loaded"]) & set(NEVER_ON_A_PHONE)
    assert all(
        name == "app.kivy_app" or name.startswith(("app.screens", "app.widgets"))
        for name in seen["needs_kivy"]
    )


def test_the_probe_can_fail(tmp_path):
    (tmp_path / "click.py").write_text("")
    (tmp_path / "culprit.py").write_text("import click")
    assert "click" in probe([tmp_path], ["culprit"])["loaded"]


def without_docstrings(source: bytes) -> str:
    """The syntax tree with where each node begins; docstrings as if all were one, at no place."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        # a class that is nothing but its docstring ends elsewhere
        node.__dict__.pop("end_lineno", None)
        node.__dict__.pop("end_col_offset", None)
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                body[0] = ast.Expr(ast.Constant("docstring"))
    return ast.dump(tree, include_attributes=True)


def test_what_is_staged_is_the_same_program_line_by_line(payload):
    folder, _ = payload
    saved = 0
    for name, staged in contents(folder).items():
        if not name.endswith(".py") or name == "main.py":
            continue
        source = (CHECKOUT / name).read_bytes()
        assert without_docstrings(staged) == without_docstrings(source), name
        assert "#" not in {token.string[:1] for token in tokens(staged)}, name
        saved += len(source) - len(staged)
    assert saved > 100_000


def tokens(source: bytes) -> Iterator[tokenize.TokenInfo]:
    return tokenize.tokenize(io.BytesIO(source).readline)


def test_slimming_touches_nothing_that_runs(tmp_path):
    source = (
        "# -*- coding: utf-8 -*-\n"
        "'''One\n two'''; x = 1  # why\n"
        "class A:  # é\n"
        '    """Only this."""\n'
        "def f(): 'é'; return '# no comment'\n"
        "y = '''\n# text\n'''\n"
    )
    for name in ("app", "headtail"):
        (tmp_path / name).mkdir()
    (tmp_path / "headtail" / "__init__.py").write_text("")
    (tmp_path / "app" / "main.py").write_text(source, encoding="utf-8")
    stage(tmp_path / "out", checkout=tmp_path)
    staged = (tmp_path / "out" / "app" / "main.py").read_text(encoding="utf-8")
    assert staged.count("\n") == source.count("\n")
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    exec(source, before)
    exec(staged, after)
    assert (after["x"], after["y"], after["f"]()) == (before["x"], before["y"], before["f"]())
    assert after["f"].__code__.co_firstlineno == before["f"].__code__.co_firstlineno


def test_equal_sources_give_equal_bytes_and_times(payload, tmp_path):
    folder, report = payload
    again = tmp_path / "elsewhere" / "phone"
    assert stage(again, checkout=CHECKOUT) == report
    assert contents(again) == contents(folder)
    times = {path.stat().st_mtime for path in (again, *again.rglob("*"))}
    assert len(times) == 1


@pytest.fixture
def small(tmp_path) -> Path:
    """A source tree with next to nothing in it."""
    tree: Path = tmp_path / "tree"
    for name in ("app/main.py", "headtail/__init__.py"):
        (tree / name).parent.mkdir(parents=True)
        (tree / name).write_text("import headtail\n")
    return tree


def test_what_only_a_kv_file_names_is_there_too(tmp_path, small):
    for name in ("hues", "other", "unnamed"):
        (small / "app" / f"{name}.py").write_text("ink = 1\n")
    (small / "app" / "a.kv").write_text(
        "#:import ink app.hues.ink\n#:  import o app.other\nLabel:\n"
    )
    stage(tmp_path / "phone", checkout=small)
    staged = {name for name in contents(tmp_path / "phone") if name.startswith("app/")}
    assert staged == {"app/main.py", "app/a.kv", "app/hues.py", "app/other.py"}


def test_a_former_payload_is_replaced_whole(tmp_path, small):
    folder = tmp_path / "phone"
    stage(folder, checkout=small)
    (folder / "app" / "stale.py").write_text("left over")
    stage(folder, checkout=small)
    assert not (folder / "app" / "stale.py").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"phone", "tree"}


def test_a_folder_with_anything_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageFault, match="not a staged payload"):
        stage(tmp_path, checkout=CHECKOUT)
    assert contents(tmp_path) == {"thesis.txt": b"years of work"}


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(UsageFault, match="not a staged payload"):
        stage(tmp_path / "link", checkout=CHECKOUT)


def test_an_installed_wheel_has_no_app_and_says_so(tmp_path):
    site = tmp_path / "site-packages"
    (site / "headtail").mkdir(parents=True)
    (site / "headtail" / "__init__.py").write_text("")
    with pytest.raises(EnvironmentFault, match=r"has no app/main\.py"):
        stage(tmp_path / "phone", checkout=site)
    assert not (tmp_path / "phone").exists()


def test_a_failed_write_leaves_the_former_payload(tmp_path, small):
    folder = tmp_path / "phone"
    stage(folder, checkout=small)
    before = contents(folder)
    (small / "app" / "main.py").write_text("from app import (")
    with pytest.raises(UsageFault, match=r"main\.py is not Python at line 1"):
        stage(folder, checkout=small)
    assert contents(folder) == before
    assert {path.name for path in tmp_path.iterdir()} == {"phone", "tree"}


def test_the_entry_starts_the_app_only_when_it_is_run(payload):
    folder, _ = payload
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-B",
            "-c",
            f"import sys; sys.path[:0] = [{str(folder)!r}]; import main",
        ],
        env={key: value for key, value in os.environ.items() if key != "DISPLAY"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr

"""`__all__` is sorted, true and complete, and no module is called by a word that says nothing."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("headtail", "exporters", "quantizers", "companion_server", "app", "device_tests")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
EMPTY_WORDS = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "handler"}


def exported(path: Path) -> list[str] | None:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            value = ast.literal_eval(node.value)
            assert isinstance(value, list)
            return value
    return None


def defined(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {(a.asname or a.name).partition(".")[0] for a in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_exports(path):
    assert path.stem not in EMPTY_WORDS
    names = exported(path)
    if names is None:
        return
    assert len(set(names)) == len(names)
    assert set(names) <= defined(path) | {"__version__"}

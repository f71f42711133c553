"""headtail stage: the phone payload `build/phone/{main.py, app/, headtail/}`.

Both phone toolchains want `main.py` at the root of what they pack, and neither has torch, pydantic,
click or rich. So the payload is the closure of what `app/` imports, found by reading the import
statements, not a list that somebody has to keep: a module that the app does not reach is not on the
phone. What a .kv file imports counts as well. Modules that only a desk can use are cut off by name,
docstrings and comments are left out (python-for-android would compile docstrings away, kivy-ios
not), and every line keeps its number.
"""

from __future__ import annotations

import ast
import io
import os
import re
import shutil
import tempfile
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from headtail.errors import EnvironmentFault, UsageFault

__all__ = ["StageReport", "stage"]

PACKAGES = ("app", "headtail")
DATA_SUFFIXES = (".kv", ".png")  # of app/; code is found by its imports
# `#:import name module.attribute`, https://kivy.org/doc/stable/api-kivy.lang.html#lang-directives
KV_IMPORT = re.compile(r"^#:[ \t]*import[ \t]+\S+[ \t]+([\w.]+)", re.MULTILINE)
# reached from shared code, but only run on a desk: their libraries do not exist on a phone
DESK_ONLY = (
    "headtail.api",
    "headtail.cli",
    "headtail.report_page",
    "headtail.runtimes.coreml_desk",
    "headtail.runtimes.executorch_desk",
    "headtail.runtimes.litert_desk",
)
ENTRY = b'''"""The entry that python-for-android and kivy-ios start."""

import importlib.util
import os

# OpenSSL finds no certificate authorities on a phone, where the platform keeps them its own way
if importlib.util.find_spec("certifi"):
    import certifi

    os.environ.setdefault("SSL_CERT_FILE", certifi.where())

from app.main import main

if __name__ == "__main__":
    main([])
'''
EPOCH_S = (
    315532800  # 1980-01-01, the first moment a .zip can name: equal payloads are equal archives
)


@dataclass(frozen=True)
class StageReport:
    """What was written: the number of files and their size in bytes together."""

    files: int
    bytes: int


def stage(destination: Path, *, checkout: Path) -> StageReport:
    """Write the phone payload of the source tree `checkout` to `destination`, all or nothing.

    Same sources, same bytes and times. A former payload at `destination` is replaced; anything else
    there is refused with `UsageFault`. Raises `EnvironmentFault` where the app's sources are not,
    such as beside an installed wheel.
    """
    _check_checkout(checkout)
    _check_destination(destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{destination.name}-", dir=destination.parent))
    try:
        report = _write(_payload(checkout), staging)
        _replace(destination, staging)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return report


def _check_checkout(checkout: Path) -> None:
    missing = [f for f in ("app/main.py", "headtail/__init__.py") if not (checkout / f).is_file()]
    if missing:
        raise EnvironmentFault(
            f"{checkout} has no {missing[0]}.",
            expected="Staging needs the source tree; an installed wheel holds no app.",
            remedy="Clone the repository and run headtail stage in it.",
        )


def _check_destination(destination: Path) -> None:
    if not destination.exists() and not destination.is_symlink():
        return
    plain = destination.is_dir() and not destination.is_symlink()
    foreign = {path.name for path in destination.iterdir()} - {"main.py", *PACKAGES} if plain else 1
    if foreign:
        raise UsageFault(
            f"{destination} exists and is not a staged payload.",
            expected="Only a folder with nothing but main.py, app and headtail is replaced.",
            remedy="Choose another destination, or remove it yourself.",
        )


def _payload(checkout: Path) -> dict[str, bytes]:
    app = checkout / "app"
    data = [path for path in app.rglob("*") if path.suffix in DATA_SUFFIXES and path.is_file()]
    rules = [path.read_text(encoding="utf-8") for path in sorted(data) if path.suffix == ".kv"]
    named = [name for text in rules for name in KV_IMPORT.findall(text) if _ours(name)]
    roots = ["app.main", *(parent for name in named for parent in _with_parents(name))]
    files = [*_reached(checkout, roots), *data]
    content = {path.relative_to(checkout).as_posix(): path.read_bytes() for path in files}
    slim = {name: _slim(text) if name.endswith(".py") else text for name, text in content.items()}
    return {"main.py": ENTRY, **slim}


def _slim(source: bytes) -> bytes:
    """The same program without docstrings and comments, each statement on the line it was on."""
    lines = source.split(b"\n")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if first is not None and ast.get_docstring(node, clean=False) is not None:
                _replace_docstring(lines, first)
    tokens = tokenize.tokenize(io.BytesIO(b"\n".join(lines)).readline)
    for token in [token for token in tokens if token.type == tokenize.COMMENT]:
        row, column = token.start
        kept = lines[row - 1].decode()[:column]
        lines[row - 1] = kept.rstrip().encode()
    return b"\n".join(lines)


def _replace_docstring(lines: list[bytes], node: ast.stmt) -> None:
    """By a short one: where there is none, `dataclass` makes its own at each start."""
    assert node.end_lineno is not None  # ast.parse sets both ends
    first, last = node.lineno - 1, node.end_lineno - 1
    rest = lines[last][node.end_col_offset :]
    lines[first] = lines[first][: node.col_offset] + b'"."' + rest
    lines[first + 1 : last + 1] = [b""] * (last - first)


def _reached(checkout: Path, roots: list[str]) -> set[Path]:
    """Files of `roots`, of every module they import, at whatever depth, and of their packages."""
    found: set[Path] = set()
    waiting = roots
    while waiting:
        file = _file_of(checkout, waiting.pop())
        if file is not None and file not in found:
            found.add(file)
            waiting += _imports(file, checkout)
    return found


def _file_of(checkout: Path, module: str) -> Path | None:
    """The file of a module or package; None for what is a name inside one, or not ours."""
    path = checkout.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _imports(file: Path, checkout: Path) -> Iterator[str]:
    """Modules of ours that `file` names in import statements, inside functions too."""
    for node in ast.walk(_parsed(file)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # `from a import b`: b may be a module or a name in a
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (parent for name in names if _ours(name) for parent in _with_parents(name))


def _parsed(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes(), str(file))
    except SyntaxError as error:
        raise UsageFault(
            f"{file} is not Python at line {error.lineno}: {error.msg}.",
            expected="Every module of the payload can be parsed.",
            remedy="Mend the file and stage again; a former payload was left as it is.",
        ) from None


def _ours(module: str) -> bool:
    desk = any(module == name or module.startswith(f"{name}.") for name in DESK_ONLY)
    return module.split(".", maxsplit=1)[0] in PACKAGES and not desk


def _with_parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def _write(payload: dict[str, bytes], folder: Path) -> StageReport:
    folder.chmod(0o755)
    for name in sorted(payload):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(payload[name])
        path.chmod(0o644)
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (EPOCH_S, EPOCH_S))
    return StageReport(len(payload), sum(map(len, payload.values())))


def _replace(destination: Path, staging: Path) -> None:
    """Put `staging` where `destination` is; the old payload is back if that fails."""
    if not destination.exists():
        staging.rename(destination)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{destination.name}-old-", dir=destination.parent))
    destination.rename(old / "payload")
    try:
        staging.rename(destination)
    except OSError:
        (old / "payload").rename(destination)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)

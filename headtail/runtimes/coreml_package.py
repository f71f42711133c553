"""What a `.mlpackage` says about itself: its functions, the order of their tensors, its content.

Core ML's own description of a model is a dictionary, and its outputs are named after values of the
program: the order, which the manifest goes by, is only in the file. It is a protocol buffer
(https://apple.github.io/coremltools/mlmodel/Format/Model.html), of which the few fields needed here
are read; weights and program are skipped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from headtail.errors import IntegrityFault, UnknownName
from headtail.manifest import FORWARD
from headtail.runtimes.base import Entries, check_counts
from headtail.tensors import TensorSpec

__all__ = [
    "PackageFunction",
    "checked_functions",
    "content_key",
    "in_manifest_order",
    "read_functions",
]

MAX_MODEL_BYTES = 1 << 30  # the program without its weights; a network of 1,000 layers has 1 MB
_CHUNK = 1 << 20
_KEY_DIGITS = 40
# field numbers of Model, ModelDescription, FunctionDescription and FeatureDescription
_DESCRIPTION = 2
_INPUT, _OUTPUT, _FUNCTIONS, _DEFAULT = 1, 10, 20, 21
_NAME, _FUNCTION_INPUT, _FUNCTION_OUTPUT = 1, 2, 3
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class PackageFunction:
    """One entry point: names of its inputs and outputs in the file's order.

    `function` is what Core ML calls it, None for the model's default.
    """

    function: str | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def read_functions(package: Path) -> dict[str, PackageFunction]:
    """Entry point -> function, of a `.mlpackage`.

    The only function of a package without names is `forward`. Raises `IntegrityFault` for what is
    no package, or a broken one.
    """
    try:
        description = b"".join(
            value for field, value in _fields(_model_bytes(package)) if field == _DESCRIPTION
        )
        functions = [value for field, value in _fields(description) if field == _FUNCTIONS]
        default = _first(description, _DEFAULT)
        if not functions:
            return {FORWARD: _function(None, description, _INPUT, _OUTPUT)}
        return dict(_named(value, default) for value in functions)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise IntegrityFault(
            f"{package.name} is no Core ML package: {error}.",
            file=package.name,
            expected="A .mlpackage holds Manifest.json and the model that it names.",
            remedy="Export the model again, or download the bundle again.",
        ) from error


def checked_functions(package: Path, entries: Entries) -> dict[str, PackageFunction]:
    """`read_functions`, if the package has all of `entries` with as many tensors as described.

    Raises `UnknownName` and `TensorMismatch`.
    """
    functions = read_functions(package)
    for entry, described in entries.items():
        if entry not in functions:
            raise UnknownName(f"entry point of {package.name}", entry, functions)
        own = functions[entry]
        check_counts(f"{package.name}, {entry}", (own.inputs, own.outputs), described)
    return functions


def in_manifest_order(names: Sequence[str], specs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """By name if the names are the same, else by position: Core ML renames some tensors."""
    wanted = tuple(spec.name for spec in specs)
    return wanted if sorted(wanted) == sorted(names) else tuple(names)


def content_key(package: Path) -> str:
    """A name for what the package holds: SHA-256 over paths, sizes and bytes of its files."""
    digest = hashlib.sha256()
    for path in sorted(path for path in package.rglob("*") if path.is_file()):
        name = path.relative_to(package).as_posix()
        digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()[:_KEY_DIGITS]


def _model_bytes(package: Path) -> bytes:
    manifest = json.loads((package / "Manifest.json").read_bytes())
    item = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
    model = package / "Data" / str(item)
    if not model.resolve().is_relative_to(package.resolve()):
        raise ValueError(f"{item} is outside")
    if model.stat().st_size > MAX_MODEL_BYTES:
        raise ValueError(f"{item} has {model.stat().st_size} bytes, over {MAX_MODEL_BYTES}")
    return model.read_bytes()


def _named(message: bytes, default: str) -> tuple[str, PackageFunction]:
    name = _first(message, _NAME)
    own = None if name == default else name
    return name, _function(own, message, _FUNCTION_INPUT, _FUNCTION_OUTPUT)


def _function(own: str | None, message: bytes, inputs: int, outputs: int) -> PackageFunction:
    function = PackageFunction(own, _names(message, inputs), _names(message, outputs))
    if not function.inputs or not function.outputs:
        raise ValueError(f"function {own or 'forward'} lists no inputs or no outputs")
    return function


def _names(message: bytes, wanted: int) -> tuple[str, ...]:
    return tuple(_first(value, _NAME) for field, value in _fields(message) if field == wanted)


def _first(message: bytes, wanted: int) -> str:
    for field, value in _fields(message):
        if field == wanted:
            return value.decode()
    return ""


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """(number, bytes) of each field that has a length; numbers are skipped."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            _, at = _varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        elif kind == _LENGTH:
            size, at = _varint(message, at)
            if size > len(message) - at:
                raise ValueError(f"a field of {size} bytes ends outside")
            yield key >> 3, message[at : at + size]
            at += size
        else:
            raise ValueError(f"wire type {kind} at byte {at}")
    if at > len(message):
        raise ValueError("it ends inside a number")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("it ends inside a number")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError(f"a number at byte {at} is longer than 64 bits")

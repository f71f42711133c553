"""Small `.mlpackage` folders for the stand-in: a true Manifest.json and model description, no
program; what a function is and computes stands beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.coreml_fake.framework import CODES

__all__ = ["facts", "feature", "field", "write_package"]

FACTS = "Data/facts.json"
MODEL = "com.apple.CoreML/model.mlmodel"

Function = dict[str, list[dict[str, Any]]]


def feature(name: str, *shape: int, dtype: str = "float32", **more: Any) -> dict[str, Any]:
    """A multi-array as `fake_coreml.h` describes it."""
    if "returned" in more:
        more["returned"] = CODES[more["returned"]]
    return {"name": name, "shape": list(shape), "dtype": CODES[dtype], **more}


def write_package(
    folder: Path, functions: dict[str, Function], *, default: str = "forward"
) -> Path:
    """A package; a function's features keep their order, in the file only."""
    model = folder / "Data" / MODEL
    model.parent.mkdir(parents=True)
    description = b"".join(
        field(20, field(1, name.encode()) + _features(2, f["inputs"]) + _features(3, f["outputs"]))
        for name, f in functions.items()
    )
    description += field(21, default.encode())
    model.write_bytes(b"\x08\x09" + field(2, description) + field(502, b"program"))
    (folder / "Manifest.json").write_text(
        json.dumps({"itemInfoEntries": {"A": {"path": MODEL}}, "rootModelIdentifier": "A"})
    )
    (folder / FACTS).write_text(json.dumps({"functions": functions, "default": default}))
    return folder


def facts(path: Path, function: str | None) -> dict[str, Any]:
    """The `describe` callback for such packages; an `OSError` says what Core ML would."""
    said = json.loads((path / FACTS).read_text())
    name = function or said["default"]
    if name not in said["functions"]:
        raise OSError(f"The model has no function {name}.")
    found: dict[str, Any] = said["functions"][name]
    return found


def field(number: int, value: bytes) -> bytes:
    """A protobuf field with a length."""
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _features(number: int, features: list[dict[str, Any]]) -> bytes:
    return b"".join(field(number, field(1, said["name"].encode())) for said in features)


def _varint(value: int) -> bytes:
    low = bytes([value & 0x7F | (0x80 if value > 0x7F else 0)])
    return low + _varint(value >> 7) if value > 0x7F else low

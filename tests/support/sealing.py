"""Attackers' tools: rewrite a bundle's manifest and seal it again, since a seal is no signature."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"


def manifest_value(folder: Path) -> dict[str, Any]:
    """The manifest as plain JSON values, to be changed at will."""
    value: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
    return value


def canonical(value: Any) -> bytes:
    """Canonical bytes, written here a second time so that the tests do not trust our own."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def sealed(value: dict[str, Any]) -> bytes:
    """Bytes of a manifest whose `bundle_id` is right, whatever else it says."""
    digest = hashlib.sha256(canonical({**value, "bundle_id": ""})).hexdigest()
    return canonical({**value, "bundle_id": digest})


def reseal(folder: Path, value: dict[str, Any]) -> None:
    """Write `value` as the sealed manifest of the bundle in `folder`."""
    (folder / MANIFEST).write_bytes(sealed(value))

"""Results of earlier exports, found by the digest of everything they depend on.

    <root>/<key>/content     a file or a folder
    <root>/<key>/record.json {"sha256": ..., "about": {...}}

An entry appears at once or not at all (written beside, then renamed), is checked when it is used,
and is dropped if a byte of it changed. Over `MOST_BYTES` the entries unused for longest go.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from headtail.errors import SchemaFault
from headtail.strictjson import canonical_bytes, parse

__all__ = ["Cache", "default_root"]

MOST_BYTES = 8 << 30


def default_root() -> Path:
    """`$HEADTAIL_CACHE`, else `headtail` in the user's cache folder (XDG base directories)."""
    if chosen := os.environ.get("HEADTAIL_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "headtail"


class Cache:
    """A folder of results. A missing or broken entry is None: the work is done again."""

    def __init__(self, root: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self._root = root
        self._most_bytes = most_bytes

    def find(self, key: str) -> tuple[Path, dict[str, Any]] | None:
        """The content kept under `key`, unchanged since, and what was said about it."""
        entry = self._root / key
        try:
            record = parse((entry / "record.json").read_bytes())
            content = entry / "content"
            if _digest(content) == record["sha256"]:
                os.utime(entry)
                return content, record["about"]
        except (OSError, SchemaFault, KeyError, TypeError):
            pass
        shutil.rmtree(entry, ignore_errors=True)
        return None

    def keep(self, key: str, content: Path, about: dict[str, Any]) -> None:
        """Copy a file or folder under `key`. A full disk is no reason for an export to fail."""
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._root, prefix=".new-") as temporary:
                self._write(Path(temporary) / "entry", content, about)
                (Path(temporary) / "entry").rename(self._root / key)
            self._shrink()
        except OSError:  # the same key written meanwhile by another export, or no room
            return

    @staticmethod
    def _write(entry: Path, content: Path, about: dict[str, Any]) -> None:
        entry.mkdir()
        copy(content, entry / "content")
        record = {"sha256": _digest(entry / "content"), "about": about}
        (entry / "record.json").write_bytes(canonical_bytes(record))

    def _shrink(self) -> None:
        entries = [path for path in self._root.iterdir() if not path.name.startswith(".")]
        entries.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        total = 0
        for entry in entries:
            total += sum(p.stat().st_size for p in entry.rglob("*") if p.is_file())
            if total > self._most_bytes:
                shutil.rmtree(entry, ignore_errors=True)


def copy(source: Path, destination: Path) -> None:
    """A file or a folder of files."""
    if source.is_dir():
        shutil.copytree(source, destination, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, destination)


def _digest(content: Path) -> str:
    digest = hashlib.sha256()
    files = [content] if content.is_file() else sorted(p for p in content.rglob("*") if p.is_file())
    for file in files:
        name = file.relative_to(content).as_posix()
        digest.update(f"{name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()

"""What is in a folder, as plain values to compare."""

from __future__ import annotations

from pathlib import Path


def names(folder: Path) -> list[str]:
    """Sorted names of the entries, hidden ones included."""
    return sorted(entry.name for entry in folder.iterdir())


def tree(folder: Path) -> dict[str, bytes]:
    """Relative path -> bytes of every file below `folder`."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

"""What the paths given to a server mean.

    a folder with manifest.json, or a .zip    a bundle, held where it lies and never written to
    a folder with NAME.bundle or .zip in it   those bundles, and the store's folder
    a folder with bundles/ in it, or empty    the store's folder

There is at most one store's folder. It takes what is published; until then nothing is made in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from companion_server.store.folder import BUNDLES
from headtail.bundle.staging import SUFFIX
from headtail.errors import UsageFault
from headtail.manifest import MANIFEST

__all__ = ["Sources", "survey"]

_EXPECTED = (
    "A server is given bundles (NAME.bundle or .zip), and at most one folder that holds bundles, "
    "is a store, or is empty and becomes one."
)


@dataclass(frozen=True)
class Sources:
    """Bundles to hold as they lie, in order, and the store's folder if there is one."""

    bundles: tuple[Path, ...]
    root: Path | None


def survey(paths: Sequence[Path]) -> Sources:
    """Sort `paths` by what they are.

    Raises `UsageFault` for none at all, for what is neither bundle nor folder of bundles, and for
    two folders of bundles.
    """
    if not paths:
        raise UsageFault(
            "No bundle was given.",
            expected=_EXPECTED,
            remedy="Pass a NAME.bundle made by `headtail export`, or an empty folder.",
        )
    bundles: list[Path] = []
    roots: list[Path] = []
    for path in paths:
        if path.is_file() or (path / MANIFEST).exists():
            bundles.append(path)
            continue
        bundles += _inside(path)
        if path.resolve() not in [root.resolve() for root in roots]:
            roots.append(path)
    if len(roots) > 1:
        raise UsageFault(
            f"{roots[0]} and {roots[1]} are both folders of bundles.",
            expected=_EXPECTED,
            remedy=f"Pass the bundles of one of them one by one, as {roots[1]}/*{SUFFIX}.",
        )
    return Sources(tuple(bundles), roots[0] if roots else None)


def _inside(folder: Path) -> list[Path]:
    """The bundles that lie in `folder`, the one written last being last."""
    if not folder.is_dir():
        raise UsageFault(
            f"{folder} does not exist." if not folder.exists() else f"{folder} is no folder.",
            expected=_EXPECTED,
            remedy="Check the path, or make an empty folder there to begin a store.",
        )
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    found = [folder / name for name in names if name.endswith((SUFFIX, ".zip"))]
    if names and not found and not (folder / BUNDLES).is_dir():
        raise UsageFault(
            f"{folder} holds {names[0]!r} and other things, but no bundle.",
            expected=_EXPECTED,
            remedy="Check the path, or make an empty folder to begin a store.",
        )
    return sorted(found, key=_written)


def _written(path: Path) -> int:
    manifest = path / MANIFEST
    return (manifest if manifest.exists() else path).stat().st_mtime_ns

"""What costs much and never changes is made once a run, though the run has several workers."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Callable, Iterable
from itertools import chain, zip_longest
from pathlib import Path

import pytest

__all__ = ["Once", "long_first"]


class Once:
    """Folders that all workers of a run share. They lie beside pytest's own temporary folders of
    the run and go with them: nothing is found that an earlier run has made."""

    def __init__(self, config: pytest.Config, factory: pytest.TempPathFactory) -> None:
        base = factory.getbasetemp()
        # a worker of pytest-xdist has a folder of its own in that of the run
        self.root = base.parent if hasattr(config, "workerinput") else base

    def made(self, name: str, make: Callable[[Path], object]) -> Path:
        """The folder `name`; `make(folder)` fills it, in the first worker that asks, while others
        wait. What it raises is raised, and whoever asks next tries again."""
        place = self.root / f"once-{name}"
        with place.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed, or the process killed
            if not place.exists():
                with tempfile.TemporaryDirectory(dir=self.root) as folder:
                    unfinished = Path(folder) / place.name
                    unfinished.mkdir()
                    make(unfinished)
                    unfinished.rename(place)
        return place


def long_first(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """The same tests: files with slow ones first, so that no worker is left alone with such a file
    at the end, and of each folder in turn, so that workers seldom wait for what both need; then the
    others, those with many tests first."""
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.nodeid.split("::")[0], []).append(item)
    folders: dict[str, list[list[pytest.Item]]] = {}
    short: list[list[pytest.Item]] = []
    for name, tests in files.items():
        if any(test.get_closest_marker("slow") for test in tests):
            folders.setdefault("/".join(name.split("/")[:2]), []).append(tests)
        else:
            short.append(tests)
    short.sort(key=len, reverse=True)
    rows = zip_longest(*folders.values(), fillvalue=[])
    return list(chain.from_iterable([*chain.from_iterable(rows), *short]))

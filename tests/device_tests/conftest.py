"""One real small bundle per session, and the device tests run over it as a person runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.support.once import Once

ROOT = Path(__file__).resolve().parents[2]
Suite = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def small_bundle(once: Once) -> Path:
    """Made by the real converters in a process of its own, where they may warn and log."""
    return once.made("small", lambda folder: make(folder / "small.bundle")) / "small.bundle"


def make(destination: Path) -> None:
    command = [sys.executable, "-m", "tests.device_tests.small_bundle", str(destination)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="session")
def suite() -> Suite:
    """`suite(*arguments, environment={...})`: `pytest device_tests ARGUMENTS` in a process."""

    def run(
        *arguments: str | Path, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pytest", "device_tests", "-p", "no:cacheprovider"]
        return subprocess.run(
            [*command, *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
        )

    return run

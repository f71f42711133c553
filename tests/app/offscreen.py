"""The real app in its own process (`tests.app.driver`), drawn without a screen.

SDL's offscreen driver renders with Mesa's llvmpipe, so no X server is needed.
"""

from __future__ import annotations

import ctypes.util
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.support.capabilities import require

__all__ = ["Job", "environment", "missing_for_screen", "render"]

PACKAGES = {  # what kivy's window opens at run time -> the Debian package that has it
    "GL": "libgl1 libgl1-mesa-dri",
    "EGL": "libegl1",
    "GLESv2": "libgles2",
    "mtdev": "libmtdev1",
}
LIMIT_S = 90


@dataclass(frozen=True)
class Job:
    """What to do and draw.

    `settled`: what to wait for before the picture is taken, and before and after each gesture:
    `result` (an answer is shown), `problem` (an error is), `empty` (nothing runs). `gestures`: ids
    of widgets to touch (`banner.copy`: inside another), `[id, text]` to type into one, or
    `["drop", path]` to drop a file on the window. `size` in dp; the width in pixels must be
    a multiple of 4, because kivy reads the frame back as if rows had no padding.
    """

    picture: str
    bundle: str | None = None
    photos: list[str] = field(default_factory=list)
    server: str = ""
    settled: str = "result"
    dark: bool = False
    size: tuple[int, int] = (412, 892)
    density: float = 1.0
    gestures: list[str | list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        assert self.size[0] * self.density % 4 == 0, "the picture would come out slanted"


def missing_for_screen() -> str:
    """Why the app cannot be drawn here; empty if it can."""
    if find_spec("kivy") is None:
        return "kivy is not installed: pip install 'headtail[app]'"
    absent = [package for name, package in PACKAGES.items() if not ctypes.util.find_library(name)]
    return f"no window can be drawn: apt-get install {' '.join(absent)}" if absent else ""


def render(job: Job) -> dict[str, Any]:
    """Run the job in a fresh process; skips the calling test where nothing can be drawn."""
    reason = missing_for_screen()
    require(not reason, reason)
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-m", "tests.app.driver"],
            input=json.dumps(asdict(job)),
            env=environment(job, home),
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def environment(job: Job, home: str) -> dict[str, str]:
    """For a process that draws without a screen; `home` is kivy's own folder."""
    environment = {key: value for key, value in os.environ.items() if key != "DISPLAY"}
    return environment | {
        "SDL_VIDEODRIVER": "offscreen",
        "KIVY_HOME": home,
        "KIVY_NO_ARGS": "1",
        "KIVY_NO_CONSOLELOG": "1",
        "KIVY_METRICS_DENSITY": str(job.density),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }

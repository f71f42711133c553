"""Pages of the real app, drawn without a screen and compared with pictures that were looked at.

`tests/app/pictures/NAME.png` has half the size of the window and few colours. A page is compared at
that size, so that another version of Mesa, which smooths an edge otherwise, is not a difference.
With HEADTAIL_DRAW_ANEW=1 the tests write these pictures instead of comparing: look at them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.app.offscreen import LIMIT_S, Job, environment, missing_for_screen
from tests.support.capabilities import require

__all__ = [
    "PHONE",
    "TABLET",
    "TOLERATED",
    "Scene",
    "check_picture",
    "check_scene",
    "difference",
    "draw",
    "golden",
    "names",
]

PHONE, TABLET = (412, 892), (1000, 700)
PICTURES = Path(__file__).parent / "pictures"
COLOURS = 64
FAR = 40  # of 255: two pixels that differ by more in a channel are different
TOLERATED = 0.02  # of a picture's pixels


@dataclass(frozen=True)
class Scene:
    """One page as it is drawn. `gestures`: `["tap", TEXT]`, `["focus", TEXT]`, `["key", NAME]`,
    `["type", HINT, TEXT]`, `["scroll", SHARE]`, `["walk"]` and others of `tests.app.drawing`.
    """

    name: str
    page: str
    dark: bool = False
    large: bool = False
    preferences: dict[str, Any] = field(default_factory=dict)
    gestures: list[list[Any]] = field(default_factory=list)


def draw(
    scenes: list[Scene],
    folder: Path,
    *,
    size: tuple[int, int] = PHONE,
    by: str = "tests.app.drawing",
    more: dict[str, Any] | None = None,
) -> list[Any]:
    """Draw them in one window, in turn: `folder/NAME.png`, and what the module `by` tells of each.

    `more` goes into the job beside size and scenes.
    """
    reason = missing_for_screen()
    require(not reason, reason)
    jobs = [asdict(scene) | {"picture": str(folder / f"{scene.name}.png")} for scene in scenes]
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-m", by],
            input=json.dumps({"size": size, "scenes": jobs, **(more or {})}),
            env=_environment(size, home),
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    told: list[Any] = json.loads(done.stdout.splitlines()[-1])
    assert len(told) == len(scenes), f"only {len(told)} of {len(scenes)} scenes were drawn"
    return told


def golden(name: str) -> Path:
    """The picture that was looked at."""
    return PICTURES / f"{name}.png"


def difference(picture: Path, looked_at: Path) -> float:
    """The share of pixels, at half size, that are far from those of `looked_at`."""
    one, other = _halved(picture), np.asarray(Image.open(looked_at).convert("RGB"), np.int16)
    assert one.shape == other.shape, f"{one.shape} is drawn, {other.shape} was looked at"
    return float((np.abs(one - other).max(axis=2) > FAR).mean())


def check_picture(picture: Path, name: str, *, tolerated: float = TOLERATED) -> None:
    """Fail if `picture` is not what was looked at as `name`; with HEADTAIL_DRAW_ANEW=1 keep it as
    that, to be looked at."""
    if os.environ.get("HEADTAIL_DRAW_ANEW") == "1":
        _keep(picture, name)
        return
    found = difference(picture, golden(name))
    assert found <= tolerated, f"{found:.1%} of {name} is not as it was looked at"


def check_scene(drawn: tuple[Path, dict[str, Any]], scene: Scene) -> None:
    """Fail unless `scene` is in its theme, whole, and as it was looked at. `drawn` is the folder of
    the pictures and what was told of each scene, by name."""
    folder, told = drawn
    assert told[scene.name]["theme"] == ("dark" if scene.dark else "light")
    assert told[scene.name]["cut_off"] == []
    check_picture(folder / f"{scene.name}.png", scene.name)


def names(scenes: list[Scene], size: tuple[int, int]) -> list[Scene]:
    """Each scene in light and dark, named after theme and size."""
    return [
        Scene(
            f"{scene.name}-{'dark' if dark else 'light'}-{size[0]}x{size[1]}",
            scene.page,
            dark,
            scene.large,
            scene.preferences,
            scene.gestures,
        )
        for dark in (False, True)
        for scene in scenes
    ]


def _environment(size: tuple[int, int], home: str) -> dict[str, str]:
    told = environment(Job(picture="", size=size), home)
    del told["KIVY_NO_CONSOLELOG"]  # it takes the traceback away as well
    # no programs: what the desktop or a clipboard would tell differs between machines
    return told | {"PATH": home}


def _halved(picture: Path) -> Any:
    image = Image.open(picture).convert("RGB")
    return np.asarray(image.reduce(2), np.int16)


def _keep(picture: Path, name: str) -> None:
    small = Image.fromarray(_halved(picture).astype("u1"))
    small.quantize(COLOURS, dither=Image.Dither.NONE).save(golden(name), optimize=True)
    print(golden(name))

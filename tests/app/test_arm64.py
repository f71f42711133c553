"""The whole app as an arm64 process under emulation: kivy, mesa, numpy and LiteRT built for arm64.

LiteRT lies where the loader finds it and its Python package is hidden, as in an APK, so the app has
to take it by ctypes. What it shows is compared with the same app on this machine, likewise.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from device_tests.sysroot import Sysroot, cache_folder, ensure_sysroot, recipe_for
from device_tests.targets.qemu_arm64 import QEMU
from headtail.errors import EnvironmentFault
from tests.app.offscreen import missing_for_screen
from tests.support.capabilities import require

pytestmark = [pytest.mark.slow, pytest.mark.device]

CHECKOUT = Path(__file__).parents[2]
CPU = "cortex-a76"
# What mesa's software renderers open, directly or not
MESA = (
    *("libbsd0", "libdrm-amdgpu1", "libdrm-nouveau2", "libdrm-radeon1", "libdrm2", "libedit2"),
    *("libegl-mesa0", "libegl1", "libelf1", "libgbm1", "libgl1", "libgl1-mesa-dri"),
    *("libglapi-mesa", "libgles2", "libglvnd0", "libglx-mesa0", "libglx0", "libicu72"),
    *("libllvm15", "libmd0", "libmtdev1", "libsensors5", "libtinfo6", "libwayland-client0"),
    *("libwayland-server0", "libx11-6", "libx11-xcb1", "libxau6", "libxcb-dri2-0"),
    *("libxcb-dri3-0", "libxcb-glx0", "libxcb-present0", "libxcb-randr0", "libxcb-shm0"),
    *("libxcb-sync1", "libxcb-xfixes0", "libxcb1", "libxdmcp6", "libxext6", "libxfixes3"),
    *("libxml2", "libxshmfence1", "libxxf86vm1", "libz3-4", "libzstd1"),
)
WHEELS = ("kivy==2.3.1", "pillow==10.4.0", "filetype==1.2.0")
LIMIT_S = 240  # emulation on a busy machine; alone it takes a tenth
DIFFERENT = 16  # of 255: more than another renderer's rounding
SHARE = 0.02  # of the picture: the milliseconds in it are others


@pytest.fixture(scope="module")
def sysroot() -> Sysroot:
    require(not missing_for_screen(), missing_for_screen())
    require(shutil.which(QEMU) is not None, f"{QEMU} is absent: apt-get install qemu-user-static")
    require(find_spec("ai_edge_litert") is not None, "pip install ai-edge-litert")
    try:
        recipe = recipe_for("bookworm", litert=version("ai-edge-litert"))
        recipe = replace(
            recipe, packages=(*recipe.packages, *MESA), wheels=(*recipe.wheels, *WHEELS)
        )
        return ensure_sysroot(recipe, cache=cache_folder())
    except EnvironmentFault as error:
        require(False, str(error))
        raise


@pytest.fixture(scope="module")
def photos(red_photo) -> Path:
    folder: Path = red_photo.parent
    return folder


def run(folder: Path, job: Mapping[str, object], *, python: list[str], paths: list[Path]):
    """The guest's facts, from a process with `python` before its arguments."""
    folder.mkdir()
    kept = {key: os.environ[key] for key in ("PATH", "TMPDIR") if key in os.environ}
    own = {
        "HOME": folder,
        "KIVY_HOME": folder,
        "KIVY_NO_ARGS": 1,
        "KIVY_NO_CONSOLELOG": 1,
        "OMP_NUM_THREADS": 1,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "SDL_VIDEODRIVER": "offscreen",
    }
    pictures = [str(folder / "first.png"), str(folder / "last.png")]
    told = {**job, "hide": "ai_edge_litert", "limit_s": LIMIT_S, "pictures": pictures}
    done = subprocess.run(
        [*python, "-m", "tests.app.arm64_guest", json.dumps(told)],
        cwd=CHECKOUT,
        env={**kept, **{key: str(value) for key, value in own.items()}},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S + 60,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def emulator(sysroot: Sysroot) -> list[str]:
    root = sysroot.root(CPU)
    guest = {
        "GALLIUM_DRIVER": "softpipe",  # llvmpipe would compile shaders with an emulated compiler
        "LD_LIBRARY_PATH": sysroot.site / "ai_edge_litert",  # in an APK: lib/arm64-v8a
        "PYTHONHOME": root / "usr",
        "PYTHONPYCACHEPREFIX": sysroot.bytecode,
    }
    settings = [word for item in guest.items() for word in ("-E", "{}={}".format(*item))]
    return [QEMU, "-cpu", CPU, "-L", str(root), *settings, str(sysroot.python(CPU))]


def natively() -> list[str]:
    """This interpreter, with its LiteRT where the loader finds it."""
    found = find_spec("ai_edge_litert")
    assert found is not None
    assert found.origin is not None
    return ["env", f"LD_LIBRARY_PATH={Path(found.origin).parent}", sys.executable]


def different(one: Path, other: Path) -> float:
    """The share of pixels that are not the same to the eye."""
    pixels = [np.asarray(Image.open(path).convert("RGB"), np.int16) for path in (one, other)]
    assert pixels[0].shape == pixels[1].shape
    return float((np.abs(pixels[0] - pixels[1]).max(axis=-1) > DIFFERENT).mean())


def test_the_whole_app_answers_a_photo_as_on_this_machine(sysroot, colour_bundle, photos, tmp_path):
    job = {"arguments": ["--photos", str(photos), str(colour_bundle)], "words": ["red", " ms"]}
    emulated = {"python": emulator(sysroot), "paths": [CHECKOUT, sysroot.site]}
    there = run(tmp_path / "there", job, **emulated)
    here = run(tmp_path / "here", job, python=natively(), paths=[CHECKOUT])
    assert there["machine"] == "aarch64"
    for facts in (there, here):
        assert "headtail.runtimes.litert_ctypes" in facts["loaded"]
        assert "red" in facts["texts"], facts["texts"]
    shares = [text for text in here["texts"] if text.endswith("%")]
    assert shares == [text for text in there["texts"] if text.endswith("%")] != []
    assert different(tmp_path / "there" / "last.png", tmp_path / "here" / "last.png") < SHARE
    # so the comparison sees what is on the screen
    assert different(tmp_path / "there" / "first.png", tmp_path / "there" / "last.png") > SHARE

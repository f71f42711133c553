"""What importing a module drags in, seen from outside: a fresh interpreter and `sys.modules`.

import-linter sees imports in files; this sees what really happens, `__init__` files included.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {
    "torch",
    "coremltools",
    "executorch",
    "ai_edge_litert",
    "litert_torch",
    "tensorflow",
    "fastapi",
    "pydantic",
    "kivy",
}
PHONE = [
    "headtail.bundle",
    "headtail.manifest",
    "headtail.offload.client",
    "headtail.offload.engine",
    "headtail.plan",
    "headtail.postprocess",
    "headtail.preprocess",
    "headtail.runtimes",
    "headtail.wire.boundary",
    "headtail.wire.oip",
    "app.live.presenter",
    "app.live.pipeline",
]


def modules_after(statement: str) -> set[str]:
    """Top-level names in `sys.modules` after running `statement` in a fresh interpreter."""
    code = f"import sys, json\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_the_probe_can_fail():
    assert "numpy" in modules_after("import numpy")


def test_importing_headtail_is_light():
    found = modules_after("import headtail")
    assert not found & (HEAVY | {"numpy", "PIL", "click", "rich"})


@pytest.mark.parametrize("module", PHONE)
def test_the_phone_side_is_light(module):
    assert not modules_after(f"import {module}") & (HEAVY | {"click", "rich"})


def test_help_imports_no_verb():
    found = modules_after(
        "from headtail.cli.main import main\n"
        "import contextlib, io\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "    main(['--help'])"
    )
    assert not found & (HEAVY | {"numpy", "PIL", "rich"})


@pytest.mark.parametrize("module", ["companion_server", "quantizers.recipe", "quantizers.support"])
def test_packages_of_the_desk_are_light_until_used(module):
    assert not modules_after(f"import {module}") & HEAVY

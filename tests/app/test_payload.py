"""What is staged runs on both phones' Pythons: 3.11 with numpy 1.24, and the newest there are."""

import re
from pathlib import Path

import pytest

from tests.app.payload import PayloadRun, interpreters
from tests.support.capabilities import require

TOOLS = ("pytest", "hypothesis")
SURELY = {  # what a mistake in choosing would leave out first
    "tests/app/live/test_presenter.py",
    "tests/headtail/offload/test_engine.py",
    "tests/headtail/test_plan.py",
    "tests/headtail/test_preprocess.py",
    "tests/headtail/wire/test_codecs.py",
}
NEVER = {"tests/app/test_buildozer_spec.py", "tests/headtail/test_demo.py"}
MINIMUM = 1200  # tests; a phone's logic is not checked by a handful


@pytest.fixture(scope="module")
def payload(tmp_path_factory) -> PayloadRun:
    return PayloadRun(tmp_path_factory.mktemp("payload"))


def test_tests_are_chosen_by_what_they_import(payload):
    chosen = set(map(Path.as_posix, payload.tests))
    assert chosen >= SURELY
    assert not chosen & NEVER


def check(payload, interpreter, *packages):
    site = payload.install(interpreter, *packages, *TOOLS)
    facts = payload.imported(interpreter, site)
    assert all(
        name == "app.kivy_app" or name.startswith(("app.screens", "app.widgets"))
        or name.endswith("_kivy")
        for name in facts["kivy"]
    )  # fmt: skip
    done = payload.tested(interpreter, site)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    passed = re.search(r"^(\d+) passed", done.stdout.splitlines()[-1])
    assert passed is not None
    assert int(passed[1]) >= MINIMUM
    return facts


@pytest.mark.slow
def test_on_what_kivy_ios_ships(payload):
    old = [each for each in interpreters() if each.version == (3, 11)]
    require(bool(old), "no Python 3.11 with pip is installed")
    facts = check(payload, old[0], "numpy==1.24.4", "pillow==8.2.0")
    assert (facts["numpy"], facts["pillow"]) == ("1.24.4", "8.2.0")


@pytest.mark.slow
def test_on_the_newest_there_is(payload):
    newest = interpreters()[-1]
    require(newest.version > (3, 11), "no Python newer than 3.11 is installed beside this one")
    facts = check(payload, newest, "numpy", "pillow")
    assert not str(facts["numpy"]).startswith("1.")

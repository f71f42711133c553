"""Two processes that need the same folder: one makes it."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.once import Once, long_first

MAKER = """
import os, sys
from pathlib import Path
from types import SimpleNamespace
from tests.support.once import Once

base = Path(sys.argv[1])
once = Once(SimpleNamespace(workerinput={}), SimpleNamespace(getbasetemp=lambda: base))
def make(folder):
    with (base.parent / "made").open("a") as note:
        note.write("made ")
    (folder / "by").write_text(str(os.getpid()))
print((once.made("it", make) / "by").read_text())
"""


def once_in(base, **worker):
    config, factory = SimpleNamespace(**worker), SimpleNamespace(getbasetemp=lambda: base)
    return Once(config, factory)  # type: ignore[arg-type]  # all that it asks them


def test_one_of_several_workers_makes_it(tmp_path):
    places = [tmp_path / "gw0", tmp_path / "gw1", tmp_path / "gw2"]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", MAKER, str(place)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for place in places
    ]
    told = {worker.communicate(timeout=60)[0] for worker in workers}
    assert len(told) == 1
    assert (tmp_path / "made").read_text() == "made "


def test_what_fails_is_tried_again_and_leaves_nothing(tmp_path):
    once = once_in(tmp_path)

    def fail(folder):
        (folder / "half").write_text("of it")
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        once.made("it", fail)
    assert list(once.made("it", lambda folder: None).iterdir()) == []


def test_a_run_without_workers_keeps_it_in_its_own_folder(tmp_path):
    assert once_in(tmp_path / "run").root == tmp_path / "run"
    assert once_in(tmp_path / "run" / "gw0", workerinput={}).root == tmp_path / "run"


def test_long_files_come_first_and_folders_in_turn():
    def test(nodeid, *marks):
        return SimpleNamespace(nodeid=nodeid, get_closest_marker=lambda name: name in marks)

    tests = [
        test("tests/a/test_1.py::one"),
        test("tests/a/test_2.py::one", "slow"),
        test("tests/a/test_2.py::two"),
        test("tests/a/test_3.py::one", "slow"),
        test("tests/b/test_4.py::one", "slow"),
        test("tests/b/test_5.py::one"),
        test("tests/b/test_5.py::two"),
    ]
    order = [item.nodeid[8:] for item in long_first(tests)]
    assert order == [
        "test_2.py::one",
        "test_2.py::two",
        "test_4.py::one",
        "test_3.py::one",
        "test_5.py::one",
        "test_5.py::two",
        "test_1.py::one",
    ]

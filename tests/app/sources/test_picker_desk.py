"""The desk's file dialog: what comes of its answers. That it is drawn was looked at by hand."""

import queue
import sys
from typing import Any

import pytest

from app.platforms import find_platform
from app.sources.picker_desk import SCRIPT, FileDialog
from headtail.errors import EnvironmentFault

SOON_S = 20.0


class Asked:
    """One press on the button; the dialog is a Python that does `source`."""

    def __init__(self, source):
        self.told: queue.Queue[Any] = queue.Queue()
        dialog = FileDialog([sys.executable, "-c", source])
        dialog.pick(self.told.put, self.told.put)

    def answer(self):
        return self.told.get(timeout=SOON_S)


def test_the_chosen_file_is_the_photo(tmp_path):
    file = tmp_path / "screen sh\u00f6t.png"
    photo = Asked(f"import os, sys; sys.stdout.buffer.write(os.fsencode({str(file)!r}))").answer()
    assert (photo.key, photo.name) == (str(file), "screen sh\u00f6t")


def test_who_chooses_nothing_hears_nothing():
    silent, then = Asked("pass"), Asked("print('/x.png', end='')")
    assert then.answer().key == "/x.png"
    assert silent.told.empty()


@pytest.mark.parametrize("source", ["raise ImportError('no tkinter')", "import no_such_tkinter"])
def test_without_tkinter_it_says_so_and_how_else(source):
    fault = Asked(source).answer()
    assert isinstance(fault, EnvironmentFault)
    assert "tkinter" in str(fault)
    assert "Drop the file onto the window" in str(fault)


def test_a_command_that_is_not_there_is_said(tmp_path):
    told: queue.Queue[Exception] = queue.Queue()
    FileDialog([str(tmp_path / "absent")]).pick(lambda _photo: None, told.put)
    assert isinstance(told.get(timeout=SOON_S), EnvironmentFault)


def test_the_dialog_is_python_and_phones_have_their_own():
    compile(SCRIPT, "dialog", "exec")
    assert find_platform("linux").chooser is not None
    assert find_platform("android").chooser is None

"""Choosing a picture's file on a desk, by the system's own dialog: Python's tkinter shows it.

In a process of its own: tkinter and kivy would each want the window system's events, and macOS
gives them to one main thread. It ends with the app, whose end closes its standard input.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from app.sources.photo import SUFFIXES, Photo, photo_file
from headtail.errors import EnvironmentFault

__all__ = ["FileDialog"]

SCRIPT = """
import os, sys, threading
import tkinter
from tkinter import filedialog

def end_with_the_app():
    os.read(0, 1)  # not sys.stdin, whose lock the end of the process would wait for
    os._exit(0)

threading.Thread(target=end_with_the_app, daemon=True).start()
root = tkinter.Tk()
root.withdraw()
kinds = [("Pictures", tuple("*" + end for end in sys.argv[1:]))]
name = filedialog.askopenfilename(parent=root, title="A picture of the code", filetypes=kinds)
sys.stdout.buffer.write(os.fsencode(name or ""))
"""


class FileDialog:
    """See `PhotoPicker`. `command` shows a dialog, writes the chosen path and ends with 0."""

    def __init__(self, command: Sequence[str] = (sys.executable, "-c", SCRIPT, *SUFFIXES)) -> None:
        self._command = tuple(command)

    def pick(self, chosen: Callable[[Photo], None], failed: Callable[[Exception], None]) -> None:
        """Show it; the answer is waited for on a thread of its own."""
        threading.Thread(
            target=self._ask, args=(chosen, failed), name="file dialog", daemon=True
        ).start()

    def _ask(self, chosen: Callable[[Photo], None], failed: Callable[[Exception], None]) -> None:
        pipe = subprocess.PIPE
        try:
            child = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, stderr=pipe)
        except OSError as error:
            failed(_no_dialog(str(error)))
            return
        assert child.stdout is not None
        assert child.stderr is not None
        with child:  # its standard input stays open: it is closed by the app's end
            name = child.stdout.read()
            said = child.stderr.read()
        if child.returncode:
            failed(_no_dialog(said.decode(errors="replace").strip().rpartition("\n")[2]))
        elif name:
            chosen(photo_file(Path(name.decode(sys.getfilesystemencoding(), "surrogateescape"))))


def _no_dialog(why: str) -> EnvironmentFault:
    return EnvironmentFault(
        f"No file can be chosen in a dialog here: {why[:200]}".rstrip(".") + ".",
        expected="Python's tkinter, which Debian and Ubuntu call python3-tk.",
        remedy="Drop the file onto the window instead.",
    )

"""What is told of the machine that figures were taken on: facts, heat and battery.

facts.py    the values, and their words; what nobody tells is None
desk.py     Linux, macOS, Windows
android.py  by pyjnius
ios.py      by pyobjus
"""

from __future__ import annotations

import os
import sys

from app.machine.facts import Condition, Machine, MachineFacts
from headtail.errors import UnknownName

__all__ = ["Condition", "Machine", "MachineFacts", "find_machine", "platform_name"]

PLATFORMS = ("android", "ios", "linux", "macosx", "win")  # the names of kivy.utils.platform


def platform_name() -> str:
    """One of `PLATFORMS`, as kivy would call it; found without kivy, so that no window is needed.

    python-for-android and kivy-ios say in the environment what they are; before Python 3.13 both
    were `linux` and `darwin` to Python.
    """
    if os.environ.get("KIVY_BUILD") in ("android", "ios"):
        return os.environ["KIVY_BUILD"]
    if "P4A_BOOTSTRAP" in os.environ or "ANDROID_ARGUMENT" in os.environ:
        return "android"
    names = {"android": "android", "ios": "ios", "darwin": "macosx", "win32": "win"}
    return names.get(sys.platform, "linux")


def find_machine(platform: str) -> Machine:
    """What tells of a machine of that platform; `UnknownName` lists what exists."""
    if platform == "android":
        from app.machine.android import AndroidMachine

        return AndroidMachine()
    if platform == "ios":
        from app.machine.ios import AppleMachine

        return AppleMachine()
    if platform not in PLATFORMS:
        raise UnknownName("platform", platform, PLATFORMS)
    from app.machine.desk import DeskMachine

    return DeskMachine()

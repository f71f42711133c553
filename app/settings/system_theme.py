"""Whether the system is set to light or dark, as far as it tells.

android    the night mode of its configuration
           (https://developer.android.com/reference/android/content/res/Configuration#uiMode)
linux      the desktop's `color-scheme` through gsettings, as GNOME and its kin keep it
macosx     AppleInterfaceStyle, which is only set while dark
win        AppsUseLightTheme of the registry
ios        not asked: no way there was ever run
"""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Callable
from typing import Any

__all__ = ["system_theme"]

LIGHT, DARK = "light", "dark"
ASKED_FOR_S = 2.0
UI_MODE_NIGHT_MASK, UI_MODE_NIGHT_YES, UI_MODE_NIGHT_UNDEFINED = 0x30, 0x20, 0x00
_GSETTINGS = ("gsettings", "get", "org.gnome.desktop.interface", "color-scheme")
_DEFAULTS = ("defaults", "read", "-g", "AppleInterfaceStyle")
_PERSONALIZE = r"Software\Microsoft\Windows\CurrentVersion\Themes\Personalize"


def system_theme(platform: str) -> str | None:
    """`light`, `dark`, or None where nobody tells; `platform` is kivy's name for it.

    Starts a process on Linux and macOS, so it may block for some milliseconds.
    """
    ask = _ASKED.get(platform)
    return ask() if ask is not None else None


def _android() -> str | None:
    from jnius import autoclass

    activity = autoclass("org.kivy.android.PythonActivity").mActivity
    night = activity.getResources().getConfiguration().uiMode & UI_MODE_NIGHT_MASK
    if night == UI_MODE_NIGHT_UNDEFINED:
        return None
    return DARK if night == UI_MODE_NIGHT_YES else LIGHT


def _linux() -> str | None:
    told = _output(_GSETTINGS)
    return None if told is None else DARK if "dark" in told else LIGHT


def _macosx() -> str | None:
    return DARK if (_output(_DEFAULTS) or "").strip() == "Dark" else LIGHT


def _win() -> str | None:
    registry: Any = importlib.import_module("winreg")
    try:
        with registry.OpenKey(registry.HKEY_CURRENT_USER, _PERSONALIZE) as key:
            return LIGHT if registry.QueryValueEx(key, "AppsUseLightTheme")[0] else DARK
    except OSError:  # an older Windows has no such value
        return None


def _output(command: tuple[str, ...]) -> str | None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=ASKED_FOR_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


_ASKED: dict[str, Callable[[], str | None]] = {
    "android": _android,
    "linux": _linux,
    "macosx": _macosx,
    "win": _win,
}

"""What this machine is called on screen, and which runtimes it has.

One table. The phone runtimes are entered here when their adapters exist; until then a phone says
that it has none, and the app shows that as the reason why a bundle cannot run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from headtail.errors import UnknownName
from headtail.runtimes.base import Runtime

__all__ = ["PLATFORMS", "Platform", "find_platform"]


@dataclass(frozen=True)
class Platform:
    """`device` as it reads in a sentence; `runtimes()` by format."""

    device: str
    runtimes: Callable[[], Mapping[str, Runtime]]


def _desk() -> Mapping[str, Runtime]:
    from headtail.runtimes import desk_runtimes

    return desk_runtimes()


def _none_yet() -> Mapping[str, Runtime]:
    return {}


_DESK = Platform("this computer", _desk)
_PHONE = Platform("this phone", _none_yet)

PLATFORMS: dict[str, Platform] = {  # the names of kivy.utils.platform
    "android": _PHONE,
    "ios": _PHONE,
    "linux": _DESK,
    "macosx": _DESK,
    "win": _DESK,
}


def find_platform(name: str) -> Platform:
    """The platform of that name; `UnknownName` lists what exists."""
    if name not in PLATFORMS:
        raise UnknownName("platform", name, PLATFORMS)
    return PLATFORMS[name]

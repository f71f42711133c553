"""The table of targets: `--target NAME`. Naming a target imports nothing of it."""

from __future__ import annotations

import importlib
from typing import cast

from device_tests.targets.base import Target
from headtail.errors import UnknownName

__all__ = ["TARGETS", "open_target"]

# name -> (module, its factory's argument)
TARGETS: dict[str, tuple[str, str]] = {
    "app": ("device_tests.targets.app_agent", "here"),
    "app:adb": ("device_tests.targets.app_agent", "adb"),
    "host": ("device_tests.targets.host", "host"),
    "qemu:cortex-a53": ("device_tests.targets.qemu_arm64", "cortex-a53"),
    "qemu:cortex-a76": ("device_tests.targets.qemu_arm64", "cortex-a76"),
}


def open_target(name: str) -> Target:
    """The target of that name, not started; `UnknownName` lists what exists."""
    if name not in TARGETS:
        raise UnknownName("target", name, TARGETS)
    module, argument = TARGETS[name]
    return cast(Target, importlib.import_module(module).open_target(argument))

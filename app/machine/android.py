"""An Android phone, by pyjnius; not one of these calls was made on a phone yet.

https://developer.android.com/reference/android/os/Build,
https://developer.android.com/reference/android/app/ActivityManager.MemoryInfo,
https://developer.android.com/reference/android/os/PowerManager#getCurrentThermalStatus(),
https://developer.android.com/reference/android/os/BatteryManager
"""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Callable
from typing import Any, TypeVar

from app.machine.facts import THERMAL, Condition, MachineFacts

__all__ = ["AndroidMachine"]

log = logging.getLogger(__name__)
T = TypeVar("T")
BATTERY_PROPERTY_CAPACITY = 4
THERMAL_SINCE = 29  # the API level that has getCurrentThermalStatus
SOC_SINCE = 31  # the API level that has Build.SOC_MODEL
UNKNOWN = "unknown"  # Build.UNKNOWN


class AndroidMachine:
    """See `app.machine.facts.Machine`. `autoclass` is pyjnius' unless a test brings its own."""

    def __init__(self, autoclass: Callable[[str], Any] | None = None) -> None:
        self._given = autoclass

    def facts(self) -> MachineFacts:
        """See `Machine.facts`."""
        level = self._level()
        return MachineFacts(
            device=_told(lambda: " ".join(self._build("MANUFACTURER", "MODEL"))),
            system=f"Android {_told(self._release) or ''} (API {level})",
            cpu=_told(lambda: " ".join(self._build("SOC_MANUFACTURER", "SOC_MODEL")))
            if level >= SOC_SINCE
            else _told(lambda: self._build("HARDWARE")[0]),
            cores=os.cpu_count(),
            memory_bytes=_told(self._memory_bytes),
            architecture=platform.machine(),
            python=platform.python_version(),
        )

    def condition(self) -> Condition:
        """See `Machine.condition`; a temperature in degrees Android tells no app."""
        return Condition(
            thermal=_told(self._thermal) if self._level() >= THERMAL_SINCE else None,
            temperature_c=None,
            battery_percent=_told(self._battery_percent),
            charging=_told(lambda: bool(self._service("batterymanager").isCharging())),
        )

    def leave_thread(self) -> None:
        """Detach the thread from the Java VM, which aborts the process if one ends attached."""
        if self._given is None:
            import jnius

            jnius.detach()

    def _class(self, name: str) -> Any:
        if self._given is not None:
            return self._given(name)
        from jnius import autoclass

        return autoclass(name)

    def _service(self, name: str) -> Any:
        # getSystemService gives an Object; pyjnius finds out what it is
        return self._class("org.kivy.android.PythonActivity").mActivity.getSystemService(name)

    def _level(self) -> int:
        return int(_told(lambda: self._class("android.os.Build$VERSION").SDK_INT) or 0)

    def _release(self) -> str:
        return str(self._class("android.os.Build$VERSION").RELEASE)

    def _build(self, *names: str) -> list[str]:
        build = self._class("android.os.Build")
        values = [str(getattr(build, name)) for name in names]
        return [value for value in values if value != UNKNOWN]

    def _memory_bytes(self) -> int:
        memory = self._class("android.app.ActivityManager$MemoryInfo")()
        self._service("activity").getMemoryInfo(memory)
        return int(memory.totalMem)

    def _thermal(self) -> str:
        return THERMAL[int(self._service("power").getCurrentThermalStatus())]

    def _battery_percent(self) -> int | None:
        percent = int(self._service("batterymanager").getIntProperty(BATTERY_PROPERTY_CAPACITY))
        return percent if 0 <= percent <= 100 else None  # Integer.MIN_VALUE where it is not told


def _told(ask: Callable[[], T]) -> T | None:
    """What `ask` gives; None, and a line in the log, where a phone knows no such call."""
    try:
        value = ask()
    except Exception:  # jnius raises its own, and AttributeError for a field that is not there
        log.info("not told by this phone", exc_info=True)
        return None
    return None if value == "" else value

"""An iPhone or iPad, by pyobjus; not one of these calls was made on a device yet.

https://developer.apple.com/documentation/foundation/processinfo/thermalstate-swift.enum,
https://developer.apple.com/documentation/uikit/uidevice/batterylevel-swift.property
"""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Callable
from typing import Any, TypeVar

from app.machine.facts import Condition, MachineFacts

__all__ = ["AppleMachine"]

log = logging.getLogger(__name__)
T = TypeVar("T")
# nominal, fair, serious, critical; from serious on the system slows down. Fair is "slightly
# elevated", without an effect that an app would see.
STATES = ("none", "none", "severe", "critical")
CHARGING = (2, 3)  # UIDeviceBatteryStateCharging, UIDeviceBatteryStateFull


class AppleMachine:
    """See `app.machine.facts.Machine`. `autoclass` is pyobjus' unless a test brings its own."""

    def __init__(self, autoclass: Callable[[str], Any] | None = None) -> None:
        self._given = autoclass

    def facts(self) -> MachineFacts:
        """See `Machine.facts`; the chip's name Apple tells no app."""
        system = _told(lambda: f"{self._text('systemName')} {self._text('systemVersion')}")
        return MachineFacts(
            device=_told(lambda: f"Apple {self._text('model')}"),
            system=system or "iOS",
            cpu=None,
            cores=os.cpu_count(),
            memory_bytes=_told(lambda: int(_value(self._process().physicalMemory))),
            architecture=platform.machine(),
            python=platform.python_version(),
        )

    def condition(self) -> Condition:
        """See `Machine.condition`; a temperature in degrees Apple tells no app."""
        return Condition(
            thermal=_told(lambda: STATES[int(_value(self._process().thermalState))]),
            temperature_c=None,
            battery_percent=_told(self._battery_percent),
            charging=_told(self._charging),
        )

    def leave_thread(self) -> None:
        """Nothing is bound to a thread here."""

    def _class(self, name: str) -> Any:
        if self._given is not None:
            return self._given(name)
        from pyobjus import autoclass

        return autoclass(name)

    def _process(self) -> Any:
        return self._class("NSProcessInfo").processInfo()

    def _device(self) -> Any:
        device = self._class("UIDevice").currentDevice()
        device.setBatteryMonitoringEnabled_(True)  # without it the level is -1
        return device

    def _text(self, name: str) -> str:
        return str(_value(_value(getattr(self._device(), name)).UTF8String))

    def _battery_percent(self) -> int | None:
        level = float(_value(self._device().batteryLevel))  # 0 to 1, -1 if it is unknown
        return round(level * 100) if level >= 0 else None

    def _charging(self) -> bool | None:
        state = int(_value(self._device().batteryState))  # 0: unknown
        return state in CHARGING if state else None


def _value(member: Any) -> Any:
    # to pyobjus an Objective-C property is a method in some versions and a value in others
    return member() if callable(member) else member


def _told(ask: Callable[[], T]) -> T | None:
    """What `ask` gives; None, and a line in the log, where a device knows no such call."""
    try:
        return ask()
    except Exception:  # pyobjus raises its own, and AttributeError for what is not there
        log.info("not told by this device", exc_info=True)
        return None

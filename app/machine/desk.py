"""A desk or a notebook: Linux tells by /proc and /sys, the others by `platform` alone.

https://docs.kernel.org/driver-api/thermal/sysfs-api.html,
https://docs.kernel.org/power/power_supply_class.html
"""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from app.machine.facts import Condition, MachineFacts

__all__ = ["DeskMachine"]


class DeskMachine:
    """See `app.machine.facts.Machine`. `root` is where /proc and /sys are."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def facts(self) -> MachineFacts:
        """See `Machine.facts`."""
        return MachineFacts(
            device=self._device(),
            system=f"{platform.system()} {platform.release()}",
            cpu=self._found(r"model name\s*:\s*(.+)", "proc/cpuinfo")
            or platform.processor()
            or None,
            cores=_cores(),
            memory_bytes=self._memory_bytes(),
            architecture=platform.machine(),
            python=platform.python_version(),
        )

    def condition(self) -> Condition:
        """Heat is that of the warmest zone; whether it slows anything down Linux does not say."""
        zones = self._root.glob("sys/class/thermal/thermal_zone*/temp")
        degrees = [float(text) / 1000 for text in map(_text, zones) if _is_whole(text)]
        percent, charging = self._battery()
        return Condition(
            thermal=None,
            temperature_c=max(degrees, default=None),
            battery_percent=percent,
            charging=charging,
        )

    def leave_thread(self) -> None:
        """Nothing is bound to a thread here."""

    def _device(self) -> str | None:
        # a board names itself in the device tree, a PC by DMI; both may be absent in a container
        tree = _text(self._root / "proc/device-tree/model").rstrip("\0")
        names = ("sys_vendor", "product_name")
        by_dmi = " ".join(_text(self._root / "sys/class/dmi/id" / name) for name in names)
        return tree or by_dmi.strip() or None

    def _memory_bytes(self) -> int | None:
        kib = self._found(r"MemTotal:\s*(\d+) kB", "proc/meminfo")
        return int(kib) * 1024 if kib else None

    def _battery(self) -> tuple[int | None, bool | None]:
        for folder in sorted(self._root.glob("sys/class/power_supply/*")):
            capacity = _text(folder / "capacity")
            if _text(folder / "type") == "Battery" and _is_whole(capacity):
                return int(capacity), _text(folder / "status") in ("Charging", "Full")
        return None, None

    def _found(self, pattern: str, file: str) -> str:
        match = re.search(pattern, _text(self._root / file))
        return match.group(1).strip() if match else ""


def _cores() -> int | None:
    if hasattr(os, "sched_getaffinity"):  # of these a container may be given fewer
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:  # absent, or a sensor that is asleep
        return ""


def _is_whole(text: str) -> bool:
    return re.fullmatch(r"-?\d+", text) is not None

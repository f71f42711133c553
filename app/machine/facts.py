"""The values that are told of a machine; None is "not told here", never a guess."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from headtail.errors import UnknownName

__all__ = [
    "NOT_TOLD",
    "THERMAL",
    "Condition",
    "Machine",
    "MachineFacts",
    "heat_note",
    "in_words",
]

NOT_TOLD = "not told here"
# Names of Android's thermal status, in rising order; Apple's four states are put among them.
# https://developer.android.com/reference/android/os/PowerManager#THERMAL_STATUS_NONE
THERMAL = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")


@dataclass(frozen=True)
class MachineFacts:
    """What does not change while the app runs. No host name and no serial number: a report of it
    may be shown to anybody.

    `device` is maker and model, `system` name and version, `cpu` the chip's own name, `cores` how
    many the app may use, `memory_bytes` the whole machine's, `architecture` such as `aarch64`.
    """

    device: str | None
    system: str
    cpu: str | None
    cores: int | None
    memory_bytes: int | None
    architecture: str
    python: str

    @property
    def identity(self) -> tuple[str | None, str | None, int | None, str]:
        """What makes two runs those of the same machine; an updated system still is the same."""
        return (self.device, self.cpu, self.cores, self.architecture)


@dataclass(frozen=True)
class Condition:
    """How the machine is at one moment. `thermal` is one of `THERMAL`; `temperature_c` in degrees
    Celsius, of the warmest sensor; `battery_percent` from 0 to 100."""

    thermal: str | None
    temperature_c: float | None
    battery_percent: int | None
    charging: bool | None

    def __post_init__(self) -> None:
        if self.thermal is not None and self.thermal not in THERMAL:
            raise UnknownName("thermal status", self.thermal, THERMAL)

    @property
    def throttled(self) -> bool:
        """Does the system say that it slows down because of heat?"""
        return self.thermal is not None and THERMAL.index(self.thermal) > 0


class Machine(Protocol):
    """Tells of the machine it runs on; every method may be called on any thread."""

    def facts(self) -> MachineFacts:
        """What it is; never raises, what is not told is None."""
        ...

    def condition(self) -> Condition:
        """How it is now; never raises, what is not told is None."""
        ...

    def leave_thread(self) -> None:
        """To be called at the end of a thread that asked, or that ran a model."""
        ...


def in_words(condition: Condition) -> str:
    """`thermal status light, 41 °C, battery 80 %, charging`; what is not told is left out."""
    parts = []
    if condition.thermal is not None:
        parts.append(f"thermal status {condition.thermal}")
    if condition.temperature_c is not None:
        parts.append(f"{condition.temperature_c:.0f} °C")
    if condition.battery_percent is not None:
        parts.append(f"battery {condition.battery_percent} %")
    if condition.charging is not None:
        parts.append("charging" if condition.charging else "not charging")
    return ", ".join(parts) or f"heat and battery are {NOT_TOLD}"


def heat_note(conditions: Sequence[Condition]) -> str:
    """A sentence if the system slowed down in one of these moments, else an empty one."""
    seen = [c.thermal for c in conditions if c.throttled and c.thermal is not None]
    if not seen:
        return ""
    worst = max(seen, key=THERMAL.index)
    return f"It got hot (thermal status {worst}): these times are longer than those of a cool one."

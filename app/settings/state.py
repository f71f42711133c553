"""What the Settings screen shows, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass

from app.problems import Problem
from app.servers import Server
from app.settings.about import Part
from app.settings.accelerators import Offered
from app.settings.leaving import Sent
from app.settings.preferences import Preferences
from headtail.offload.pairing import PairingCode

__all__ = ["Complaints", "SettingsState"]


@dataclass(frozen=True)
class Complaints:
    """What is wrong with the text of each field as it stands, "" if nothing is."""

    server: str = ""
    key: str = ""
    quota: str = ""
    deadline: str = ""


@dataclass(frozen=True)
class SettingsState:
    """`device` is the words for the machine this runs on, `cores` how many threads it has.

    `opened` is the address of the server whose details are shown, `busy` what is being done with a
    server ("" if nothing), `note` what came of it. `offered` is a code that reached the app by a
    link and waits for a person's yes. `accelerators` and `about` are None until they were asked.
    `themes` are those that can be chosen here. `sent` is the last frame that was split.
    """

    device: str
    cores: int
    preferences: Preferences
    themes: tuple[str, ...] = ("light", "dark")
    servers: tuple[Server, ...] = ()
    opened: str = ""
    busy: str = ""
    note: str = ""
    offered: PairingCode | None = None
    complaints: Complaints = Complaints()
    accelerators: Offered | None = None
    about: tuple[Part, ...] | None = None
    sent: Sent | None = None
    problem: Problem | None = None

"""What the Models page shows, as frozen values; nothing here decides or reads anything."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path

from app.models.fitness import Suitability
from app.problems import Problem

__all__ = [
    "ArtifactCard",
    "CatalogueCard",
    "Check",
    "Download",
    "InstalledCard",
    "ModelsState",
    "Offer",
    "OfferedArtifact",
    "Phase",
    "Reach",
    "UnfinishedCard",
]


class Check(enum.Enum):
    """How far the files of an installed bundle were compared with its manifest."""

    LISTED = "listed"  # names and sizes
    CHECKING = "checking"
    VERIFIED = "verified"  # every byte, by SHA-256
    DAMAGED = "damaged"
    FOREIGN = "foreign"  # made by another version of Headtail, so nothing can be said of it


class Phase(enum.Enum):
    """Where a download is."""

    WAITING = "waiting"  # another one runs
    RUNNING = "running"
    INSTALLING = "installing"  # all bytes are here: hashed, unpacked, checked
    PAUSED = "paused"
    FAILED = "failed"
    ELSEWHERE = "elsewhere"  # another process is at it


class Reach(enum.Enum):
    """Whether the server's list is what the server holds now."""

    NO_SERVER = "no server"
    ASKING = "asking"
    LIVE = "live"
    LOST = "lost"


@dataclass(frozen=True)
class ArtifactCard:
    """One artifact; sizes in bytes, `agreement` is top-1 agreement with the fp32 model on `samples`
    inputs with its 95 % interval `low` to `high`, or None for models that do not classify, of which
    `snr_db` says how near they come.
    """

    format: str
    precision: str
    bytes: int
    agreement: float | None
    low: float | None
    high: float | None
    samples: int
    snr_db: float
    suitability: Suitability


@dataclass(frozen=True)
class InstalledCard:
    """One bundle of the folder. `name` is the folder's where no manifest could be read; `bytes` is
    what it takes on disk; `installed_s` in seconds since 1970 (UTC). `problem` is what is damaged.
    `update` is the bundle id of a newer version that the server has.
    """

    path: Path
    name: str
    bytes: int
    installed_s: float
    bundle_id: str = ""
    task: str = ""
    artifacts: tuple[ArtifactCard, ...] = ()
    check: Check = Check.LISTED
    problem: Problem | None = None
    opened: bool = False
    update: str = ""


@dataclass(frozen=True)
class UnfinishedCard:
    """A download that was begun, by this app or before it was started, and is of nothing that the
    server offers now; `busy` if another process is at it.
    """

    path: Path
    name: str
    digest: str
    held: int
    busy: bool


@dataclass(frozen=True)
class OfferedArtifact:
    """What the server tells of an artifact before its bundle is here; None where it does not."""

    format: str
    precision: str
    bytes: int
    verdict: str
    agreement: float | None = None
    low: float | None = None
    high: float | None = None
    samples: int = 0
    snr_db: float = 0.0


@dataclass(frozen=True)
class Offer:
    """A bundle of the server's list; `bytes` and `sha256` are those of its zip."""

    bundle_id: str
    name: str
    task: str
    bytes: int
    sha256: str
    aliases: tuple[str, ...]
    artifacts: tuple[OfferedArtifact, ...]


@dataclass(frozen=True)
class CatalogueCard:
    """What `server` offers. `seen_s` is when it last told (seconds since 1970, 0 for never)."""

    server: str = ""
    reach: Reach = Reach.NO_SERVER
    offers: tuple[Offer, ...] = ()
    seen_s: float = 0.0
    problem: Problem | None = None


@dataclass(frozen=True)
class Download:
    """One download: `held` of `size` bytes, `mbit_s` and `remaining_s` where they are known."""

    bundle_id: str
    name: str
    size: int
    held: int = 0
    phase: Phase = Phase.WAITING
    mbit_s: float | None = None
    remaining_s: float | None = None
    problem: Problem | None = None


@dataclass(frozen=True)
class ModelsState:
    """`downloads` by bundle id. `used` and `quota` in bytes. `asked` is the bundle of which the
    page asks whether it shall be deleted. `expanded` are the cards, by path or bundle id, that are
    shown in full. `busy` is what is being done to the folder, `looking` whether it is read again.
    `now_s` is when this was true (seconds since 1970).
    """

    device: str = ""
    installed: tuple[InstalledCard, ...] | None = None  # None until the folder was read
    unfinished: tuple[UnfinishedCard, ...] = ()
    catalogue: CatalogueCard = CatalogueCard()
    downloads: dict[str, Download] = field(default_factory=dict)
    used: int = 0
    quota: int = 0
    asked: Path | None = None
    expanded: frozenset[str] = frozenset()
    busy: str = ""
    looking: bool = False
    problem: Problem | None = None
    now_s: float = 0.0

    def card(self, path: Path) -> InstalledCard | None:
        """The installed bundle at `path`."""
        return next((card for card in self.installed or () if card.path == path), None)

    def holds(self, bundle_id: str) -> bool:
        """Whether that bundle is installed, whole or damaged."""
        return any(card.bundle_id == bundle_id for card in self.installed or ())

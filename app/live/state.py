"""What the screen shows, as one frozen value, and how each event changes it.

The UI thread holds the only current `LiveState`. A request carries a ticket; the answer to an
older ticket is dropped, so that no result is ever shown under another photo or mode than its own.
"""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.problems import Problem
from app.sources.photo import Photo
from headtail.postprocess import Ranked
from headtail.preprocess import Frame

__all__ = [
    "Answered",
    "BundleCard",
    "Event",
    "Failed",
    "LiveState",
    "Mode",
    "Opened",
    "Paired",
    "PhotoCard",
    "Picture",
    "Pictured",
    "Place",
    "Request",
    "Result",
    "Thumbnailed",
    "after",
]


class Mode(enum.Enum):
    """What the person asked for."""

    LOCAL = "local"
    OFFLOAD = "offload"


class Place(enum.Enum):
    """Where an answer was computed. `FALLBACK`: here, although a server was asked for."""

    DEVICE = "device"
    SPLIT = "split"
    FALLBACK = "fallback"


@dataclass(frozen=True, eq=False)
class Picture:
    """Pixels to draw, (H, W, 3) uint8 RGB, top row first; compared by identity."""

    pixels: Frame


@dataclass(frozen=True)
class PhotoCard:
    """A photo in the strip; `thumbnail` is None until it has been decoded."""

    photo: Photo
    thumbnail: Picture | None = None


@dataclass(frozen=True)
class BundleCard:
    """The open bundle. `format` and `precision` are those of the artifact that runs here.

    `agreement` is top-1 agreement with the fp32 model over `samples` photos, or None.
    """

    name: str
    format: str
    precision: str
    bytes: int
    agreement: float | None
    samples: int


@dataclass(frozen=True)
class Result:
    """One answer. `badge` says where it was computed, `reason` why.

    All times in milliseconds: `prepare_ms` photo to tensor, `head_ms` on this device, `tail_ms`
    network and server together (0 without a server), `total_ms` tensor to answer.
    """

    ranked: tuple[Ranked, ...]
    place: Place
    badge: str
    reason: str
    prepare_ms: float
    head_ms: float
    tail_ms: float
    total_ms: float
    bytes_up: int
    bytes_down: int


@dataclass(frozen=True)
class LiveState:
    """Everything the screen shows. `device` is the words for the machine this runs on.

    `own` photos are the person's, `samples` came with the bundle.
    """

    device: str = "this computer"
    bundle_path: Path | None = None
    bundle: BundleCard | None = None
    own: tuple[PhotoCard, ...] = ()
    samples: tuple[PhotoCard, ...] = ()
    chosen: Photo | None = None
    preview: Picture | None = None
    mode: Mode = Mode.LOCAL
    server: str = ""
    ticket: int = 0
    busy: bool = False
    result: Result | None = None
    problem: Problem | None = None

    @property
    def photos(self) -> tuple[PhotoCard, ...]:
        """The strip: the person's own photos first."""
        return self.own + self.samples

    def asking(self, **changes: object) -> LiveState:
        """The state after the person asked for something else: a new ticket, no old error."""
        asked = dataclasses.replace(self, **changes)  # type: ignore[arg-type]  # checked at run time
        return dataclasses.replace(asked, ticket=self.ticket + 1, busy=True, problem=None)

    def choosing(self, photo: Photo) -> LiveState:
        """The state after the person chose `photo`; the old answer goes with the old photo."""
        if photo is self.chosen:
            return self.asking()
        thumbnail = next((c.thumbnail for c in self.photos if c.photo is photo), None)
        return self.asking(chosen=photo, preview=thumbnail, result=None)

    def request(self) -> Request:
        """What the inference thread has to do for this state."""
        return Request(self.ticket, self.bundle_path, self.chosen, self.mode, self.server)


@dataclass(frozen=True)
class Request:
    """One job: the bundle, photo, mode and server that the screen wants to show."""

    ticket: int
    bundle: Path | None
    photo: Photo | None
    mode: Mode
    server: str


@dataclass(frozen=True)
class Opened:
    """The asked-for bundle is open and checked; `samples` are the real photos it carries."""

    ticket: int
    card: BundleCard
    samples: tuple[Photo, ...]


@dataclass(frozen=True)
class Paired:
    """The code that was entered as the server is spent; the server is at `address`."""

    ticket: int
    address: str


@dataclass(frozen=True)
class Pictured:
    """The chosen photo was decoded."""

    ticket: int
    picture: Picture


@dataclass(frozen=True)
class Answered:
    """The chosen photo was classified."""

    ticket: int
    result: Result


@dataclass(frozen=True)
class Failed:
    """Something went wrong; an `Answered` may still follow."""

    ticket: int
    problem: Problem


@dataclass(frozen=True)
class Thumbnailed:
    """A photo of the strip was decoded; `picture` is None if it is not an image."""

    photo: Photo
    picture: Picture | None


Event = Opened | Paired | Pictured | Answered | Failed | Thumbnailed


def after(state: LiveState, event: Event) -> LiveState:
    """The state after `event`; events of an older ticket change nothing."""
    if isinstance(event, Thumbnailed):
        return _thumbnailed(state, event)
    if event.ticket != state.ticket:
        return state
    if isinstance(event, Opened):
        return _opened(state, event)
    return dataclasses.replace(state, **_changes(event))


def _changes(event: Paired | Pictured | Answered | Failed) -> dict[str, Any]:
    if isinstance(event, Paired):
        return {"server": event.address}
    if isinstance(event, Pictured):
        return {"preview": event.picture}
    if isinstance(event, Answered):
        return {"result": event.result, "busy": False}
    return {"problem": event.problem, "busy": False}


def _opened(state: LiveState, event: Opened) -> LiveState:
    busy = state.busy and state.chosen is not None
    if tuple(card.photo for card in state.samples) == event.samples:
        return dataclasses.replace(state, bundle=event.card, busy=busy)
    samples = tuple(PhotoCard(photo) for photo in event.samples)
    return dataclasses.replace(state, bundle=event.card, samples=samples, busy=busy)


def _thumbnailed(state: LiveState, event: Thumbnailed) -> LiveState:
    def drawn(cards: tuple[PhotoCard, ...]) -> tuple[PhotoCard, ...]:
        return tuple(
            PhotoCard(card.photo, event.picture) if card.photo is event.photo else card
            for card in cards
        )

    return dataclasses.replace(state, own=drawn(state.own), samples=drawn(state.samples))

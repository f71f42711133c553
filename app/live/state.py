"""What the Live page shows, as one frozen value, and how each event changes it.

The UI thread holds the only current `LiveState`. What is asked for carries two numbers: `ticket`
counts everything the person asked for, `run` the starts of a source. An event of an older ticket or
run changes nothing, so that no answer is shown under another photo, source or setting than its own.
"""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.live.picture import Picture
from app.live.readings import Readings
from app.live.request import Choices, Request
from app.problems import Problem
from app.sources.photo import Photo
from headtail.offload.engine import OffloadStatus
from headtail.postprocess import Answered as Seen
from headtail.postprocess import Ranked
from headtail.preprocess import Frame

__all__ = [
    "Answered",
    "BundleCard",
    "Event",
    "Failed",
    "LiveState",
    "Opened",
    "Paired",
    "PhotoCard",
    "Picture",
    "Pictured",
    "Place",
    "Result",
    "SourceKind",
    "Stopped",
    "Thumbnailed",
    "after",
]

Window = tuple[float, float, float, float]


class Place(enum.Enum):
    """Where an answer was computed. `FALLBACK`: here, although the server was tried or wanted."""

    DEVICE = "device"
    SPLIT = "split"
    FALLBACK = "fallback"


class SourceKind(enum.Enum):
    """Where frames come from; the value is what a person reads."""

    CAMERA = "Camera"
    PHOTOS = "Photos"
    REPLAY = "Replay"
    DEMO = "Demo"


@dataclass(frozen=True)
class PhotoCard:
    """A photo in the strip; `thumbnail` is None until it has been decoded."""

    photo: Photo
    thumbnail: Picture | None = None


@dataclass(frozen=True)
class BundleCard:
    """The open bundle. `format` and `precision` are those of the artifact that runs here, `runtime`
    with `version` what runs it on `accelerator` with so many `threads`.

    `agreement` is top-1 agreement with the fp32 model over `samples` photos, or None. `notes` say
    why runtimes that come first on this device were passed over, and which choice does not fit.
    """

    name: str
    format: str
    precision: str
    bytes: int
    agreement: float | None
    samples: int
    runtime: str
    version: str
    accelerator: str
    threads: int
    task: str
    cuts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Result:
    """One answer. `badge` says where it was computed, `reason` why.

    `window` is the part of the frame that the model saw: left, top, right, bottom as fractions of
    its width and height. `paint` is a mask over it, (height, width, 4) uint8 RGBA.

    All times in milliseconds: `prepare_ms` frame to tensor, `head_ms` on this device, `tail_ms`
    network and server together (0 without a server), `local_ms` the whole model on this device (0
    if it was not run), `total_ms` tensor to outputs, `frame_ms` frame to result with everything.
    """

    seen: Seen
    window: Window
    place: Place
    badge: str
    reason: str
    prepare_ms: float
    head_ms: float
    tail_ms: float
    local_ms: float
    total_ms: float
    frame_ms: float
    bytes_up: int
    bytes_down: int
    offload: OffloadStatus
    paint: Frame | None = None

    @property
    def ranked(self) -> tuple[Ranked, ...]:
        """The bars: classes, things found, or parts of the picture."""
        return self.seen.ranked


@dataclass(frozen=True)
class LiveState:
    """Everything the page shows. `device` is the words for the machine this runs on.

    `own` photos are the person's, `samples` came with the bundle. `replay` is the name of what
    plays, "" for the photos of the strip. `playing` is whether frames are wanted; a photo that was
    answered plays on. `obstacle` says why the source gives none. `held` is the page that needs the
    whole device, so that no frame is taken until it is done; "" for none.
    """

    device: str = "this computer"
    bundle_path: Path | None = None
    bundle: BundleCard | None = None
    source: SourceKind = SourceKind.PHOTOS
    own: tuple[PhotoCard, ...] = ()
    samples: tuple[PhotoCard, ...] = ()
    chosen: Photo | None = None
    replay: str = ""
    can_pick: bool = False
    playing: bool = True
    obstacle: Problem | None = None
    held: str = ""
    picture: Picture | None = None
    choices: Choices = field(default_factory=Choices)
    ticket: int = 0
    run: int = 0
    busy: bool = False
    result: Result | None = None
    readings: Readings = field(default_factory=Readings)
    problem: Problem | None = None

    @property
    def photos(self) -> tuple[PhotoCard, ...]:
        """The strip: the person's own photos first."""
        return self.own + self.samples

    @property
    def moving(self) -> bool:
        """Whether frames come by themselves."""
        return self.source is not SourceKind.PHOTOS

    @property
    def waits(self) -> bool:
        """Whether frames are wanted that cannot be had while the device is `held`."""
        return bool(self.held) and (self.playing if self.moving else self.busy)

    def asking(self, **changes: object) -> LiveState:
        """The state after the person asked for something else: a new ticket, no old error."""
        asked = dataclasses.replace(self, **changes)  # type: ignore[arg-type]  # checked at run time
        return dataclasses.replace(asked, ticket=self.ticket + 1, busy=True, problem=None)

    def starting(self, **changes: object) -> LiveState:
        """The same for frames from elsewhere: a new run, too, and the old answer goes."""
        fresh: dict[str, object] = {"result": None, "obstacle": None, "playing": True}
        return self.asking(**fresh | changes, run=self.run + 1)

    def request(self) -> Request:
        """What the inference thread has to do for this state."""
        ahead = self.source in (SourceKind.CAMERA, SourceKind.PHOTOS)
        return Request(self.ticket, self.run, self.bundle_path, self.choices, ahead)


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


@dataclass(frozen=True, eq=False)
class Pictured:
    """A frame came."""

    run: int
    picture: Picture


@dataclass(frozen=True, eq=False)
class Answered:
    """A frame was answered; `picture` is the frame if it was not shown before."""

    ticket: int
    run: int
    result: Result
    readings: Readings
    picture: Picture | None = None


@dataclass(frozen=True)
class Failed:
    """Something went wrong; `goes_on` if frames are answered all the same."""

    ticket: int
    problem: Problem
    goes_on: bool = False


@dataclass(frozen=True)
class Stopped:
    """The source gives no frame, and why."""

    run: int
    problem: Problem


@dataclass(frozen=True)
class Thumbnailed:
    """A photo of the strip was decoded; `picture` is None if it is not an image."""

    photo: Photo
    picture: Picture | None


Event = Opened | Paired | Pictured | Answered | Failed | Stopped | Thumbnailed


def after(state: LiveState, event: Event) -> LiveState:
    """The state after `event`; events of an older ticket or run change nothing."""
    if isinstance(event, Thumbnailed):
        return _thumbnailed(state, event)
    if getattr(event, "ticket", state.ticket) != state.ticket:
        return state
    if getattr(event, "run", state.run) != state.run:
        return state
    if isinstance(event, Opened):
        return _opened(state, event)
    return dataclasses.replace(state, **_changes(event))


def _changes(event: Paired | Pictured | Answered | Failed | Stopped) -> dict[str, Any]:
    if isinstance(event, Paired):
        return {}  # the preferences change, and then the choices
    if isinstance(event, Pictured):
        return {"picture": event.picture}
    if isinstance(event, Answered):
        shown = {} if event.picture is None else {"picture": event.picture}
        return {"result": event.result, "readings": event.readings, "busy": False, **shown}
    if isinstance(event, Stopped):
        return {"obstacle": event.problem, "busy": False, "playing": False}
    return {"problem": event.problem} | ({} if event.goes_on else {"busy": False})


def _opened(state: LiveState, event: Opened) -> LiveState:
    waits = state.moving or state.chosen is not None
    busy = state.busy and waits and state.playing
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

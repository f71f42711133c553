"""What the Offload screen shows, as one frozen value, and what it keeps of each frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from app.offloading.choices import CutChoice
from app.problems import Problem
from app.settings.preferences import Preferences
from headtail.offload.policy import Decision
from headtail.plan import Candidate

__all__ = ["Decided", "Moment", "OffloadingState"]


class Moment(NamedTuple):
    """One frame for the plots, None where nobody has measured. `time_s` is monotonic."""

    time_s: float
    total_ms: float
    local_ms: float | None
    remote_ms: float | None
    rtt_ms: float | None
    up_mbit_s: float | None
    down_mbit_s: float | None
    kilobytes_up: float


@dataclass(frozen=True)
class Decided:
    """So many frames in a row that went the same way, and why the newest did.

    `badge` is the way as the Live page has it: `local`, `split at c1, aq8t+deflate`, `local (server
    lost)`.
    """

    badge: str
    reason: str
    frames: int


@dataclass(frozen=True)
class OffloadingState:
    """`bundle` is the open one's name, "" if none is; `cuts` and `codecs` are what it leaves to
    choose. `moments` from old to new, `decided` from new to old. `decision` is the last one and
    `candidates` what it was made between. `breaker` is `closed`, `open` or `half open`; `wait_s`
    are the seconds until the server is tried again. `saved` says where the trace was put.
    """

    device: str
    preferences: Preferences
    bundle: str = ""
    cuts: tuple[CutChoice, ...] = ()
    codecs: tuple[str, ...] = ()
    moments: tuple[Moment, ...] = ()
    decided: tuple[Decided, ...] = ()
    decision: Decision | None = None
    candidates: tuple[Candidate, ...] = ()
    breaker: str = ""
    wait_s: float = 0.0
    saved: str = ""
    problem: Problem | None = None

"""What a person allows, and what was decided: the words that engine, planner and screens share.

A decision says where the next frame goes and why, in a sentence for a screen. The route `picture`
of `headtail.plan` is never decided for: the companion server takes tensors and decodes no pictures,
so `picture_may_leave` has nothing to permit yet.
"""

from __future__ import annotations

from dataclasses import dataclass

from headtail.errors import UnknownName, UsageFault
from headtail.wire.codecs import codec as find_codec

__all__ = [
    "AUTO",
    "FORCE",
    "FRAME",
    "LOCAL",
    "MODES",
    "OFF",
    "PING",
    "SPLIT",
    "Decision",
    "Policy",
    "Probe",
]

OFF, AUTO, FORCE = MODES = ("off", "auto", "force")
LOCAL, SPLIT = "local", "split"
PING, FRAME = "ping", "frame"


@dataclass(frozen=True)
class Policy:
    """`off`: all here. `auto`: wherever it is predicted fastest. `force`: split, as long as the
    server answers.

    `cut` and `codec` None leave the choice to the planner. An answer is wanted within `deadline_ms`
    (> 0); one that the server did not give by then comes from here, and is late by at most the
    device's own time. `minimum_fidelity` in [0, 1] refuses routes that the bundle does not
    prove to be that good, among them splits whose fidelity was not measured.
    """

    mode: str = AUTO
    cut: str | None = None
    codec: str | None = None
    deadline_ms: float = 1000.0
    picture_may_leave: bool = True
    minimum_fidelity: float | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UnknownName("offload mode", self.mode, MODES)
        if self.codec is not None:
            find_codec(self.codec)
        if not 0 < self.deadline_ms < float("inf"):
            raise _out_of_range(
                f"A deadline of {self.deadline_ms} ms", "A deadline is more than 0 ms."
            )
        if self.minimum_fidelity is not None and not 0 <= self.minimum_fidelity <= 1:
            raise _out_of_range(
                f"A minimum fidelity of {self.minimum_fidelity}",
                "A fidelity is a share from 0 to 1.",
            )


@dataclass(frozen=True)
class Probe:
    """A message in the background that no frame waits for. A `frame` is a whole split request of
    `cut` with `codec`; a `ping` is a question of one packet, and names neither."""

    kind: str
    cut: str = ""
    codec: str = ""


@dataclass(frozen=True)
class Decision:
    """Where a frame goes: `local`, or `split` at `cut` with `codec` (empty if local).

    `predicted_ms` is the whole frame's, None if it is not known. `hedge_ms` is how long after the
    request the device begins to compute by itself, None where only the deadline says so.
    """

    where: str
    reason: str
    cut: str = ""
    codec: str = ""
    predicted_ms: float | None = None
    hedge_ms: float | None = None
    changed: bool = False
    probe: Probe | None = None


def _out_of_range(what: str, expected: str) -> UsageFault:
    return UsageFault(f"{what} is out of range.", expected=expected, remedy="Choose another.")

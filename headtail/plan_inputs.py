"""What a plan is made from: measured times, sizes, fidelities, and what the user insists on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headtail.errors import UnknownName, UsageFault

if TYPE_CHECKING:
    from headtail.manifest import Artifact, Cut

__all__ = [
    "Constraints",
    "DeviceTimes",
    "Link",
    "Picture",
    "Problem",
    "Quality",
    "ServerTimes",
    "split_fidelity",
    "wire_bytes_of",
]

_EXACT = "fp32"


@dataclass(frozen=True)
class Link:
    """Bandwidths in Mbit/s (> 0) and the round-trip time in ms (>= 0), as measured."""

    uplink_mbit_s: float
    downlink_mbit_s: float
    rtt_ms: float

    def __post_init__(self) -> None:
        if not (self.uplink_mbit_s > 0 and self.downlink_mbit_s > 0):
            raise _out_of_range(f"{self}", "Bandwidths are above 0 Mbit/s.")
        _check_times("rtt_ms", [self.rtt_ms])


@dataclass(frozen=True)
class DeviceTimes:
    """Milliseconds on the phone: the whole model, each head by cut, encoding by cut and codec."""

    local_ms: float
    head_ms: dict[str, float] = field(default_factory=dict)
    encode_ms: dict[str, dict[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        encodings = (ms for by_codec in self.encode_ms.values() for ms in by_codec.values())
        _check_times("device times", [self.local_ms, *self.head_ms.values(), *encodings])


@dataclass(frozen=True)
class ServerTimes:
    """Milliseconds on the server, queueing included, and the bytes of one reply.

    `tail_ms` by cut, decoding included; `whole_ms` the whole model; `preprocess_ms` from picture
    file to its input.
    """

    whole_ms: float
    preprocess_ms: float
    reply_bytes: int
    tail_ms: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        times = [self.whole_ms, self.preprocess_ms, *self.tail_ms.values()]
        _check_times("server times", [*times, self.reply_bytes])


@dataclass(frozen=True)
class Picture:
    """One way to send the picture itself, such as `png` or `jpeg-90`, as measured.

    `fidelity` as in `Quality`, None if it was not measured.
    """

    name: str
    size_bytes: int
    encode_ms: float
    fidelity: float | None

    def __post_init__(self) -> None:
        _check_times(self.name, [self.size_bytes, self.encode_ms])
        _check_shares(self.name, [self.fidelity])


@dataclass(frozen=True)
class Quality:
    """Fidelity: the share of real inputs with the answer of the unsplit fp32 model, in [0, 1].

    `split` by cut and codec. What was not measured is None or absent.
    """

    local: float | None = None
    split: dict[str, dict[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shares = (share for by_codec in self.split.values() for share in by_codec.values())
        _check_shares("quality", [self.local, *shares])


@dataclass(frozen=True)
class Constraints:
    """What a candidate must keep to. Without measured fidelity a minimum is not met.

    A deadline that nobody meets is reported, and the fastest permitted candidate taken.
    """

    minimum_fidelity: float | None = None
    picture_may_leave: bool = True
    deadline_ms: float | None = None

    def __post_init__(self) -> None:
        _check_shares("minimum_fidelity", [self.minimum_fidelity])
        _check_times("deadline_ms", [self.deadline_ms or 0.0])


@dataclass(frozen=True)
class Problem:
    """All that `plan` looks at. `wire_bytes` by cut and codec; see `wire_bytes_of`."""

    link: Link
    device: DeviceTimes
    server: ServerTimes
    wire_bytes: dict[str, dict[str, int]] = field(default_factory=dict)
    quality: Quality = field(default_factory=Quality)
    pictures: tuple[Picture, ...] = ()
    constraints: Constraints = field(default_factory=Constraints)

    def __post_init__(self) -> None:
        device, server = self.device, self.server
        for table in (device.head_ms, device.encode_ms, server.tail_ms, self.quality.split):
            for cut in sorted(table.keys() - self.wire_bytes.keys()):
                raise UnknownName("cut", cut, self.wire_bytes)
        _check_times(
            "wire_bytes", (n for codecs in self.wire_bytes.values() for n in codecs.values())
        )


def wire_bytes_of(cuts: Iterable[Cut]) -> dict[str, dict[str, int]]:
    """`Problem.wire_bytes` of the cuts that the artifacts really have heads for."""
    return {cut.id: dict(cut.wire_bytes) for cut in cuts if cut.materialised}


def split_fidelity(
    artifact: Artifact | None, cuts: Iterable[Cut], wanted: Mapping[str, Iterable[str]]
) -> dict[str, dict[str, float]]:
    """`Quality.split` for the cuts and codecs of `wanted`; what does not classify has none.

    A cut's figures are those of fp32 heads, which are proven to be the model's. Another precision's
    heads need their own as well: those are of fewer inputs, so the lower of both is believed.
    """
    held = {cut.id: cut for cut in cuts}
    return {
        cut: {
            codec: share
            for codec in codecs
            if artifact is not None and (share := _proven(artifact, held[cut], codec)) is not None
        }
        for cut, codecs in wanted.items()
    }


def _proven(artifact: Artifact, cut: Cut, codec: str) -> float | None:
    figures = [cut.fidelity.get(codec)]
    if artifact.precision != _EXACT:
        figures.append(artifact.splits.get(cut.id, {}).get(codec))
    shares = [one.top1 for one in figures if one is not None and one.top1 is not None]
    return min(shares) if len(shares) == len(figures) else None


def _check_times(name: str, values: Iterable[float]) -> None:
    for value in values:
        if not (math.isfinite(value) and value >= 0):
            raise _out_of_range(
                f"{value} in {name}", "Times and sizes are finite and not negative."
            )


def _check_shares(name: str, values: Iterable[float | None]) -> None:
    for value in values:
        if value is not None and not 0 <= value <= 1:
            raise _out_of_range(f"{value} in {name}", "A fidelity is a share from 0 to 1.")


def _out_of_range(what: str, expected: str) -> UsageFault:
    return UsageFault(f"{what} is out of range.", expected=expected, remedy="Measure it again.")

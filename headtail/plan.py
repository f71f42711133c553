"""Where to run the next picture: all here, split at a cut, or sent away compressed. Pure numbers.

    total = device + uplink + round trip + server + downlink            milliseconds
    local        device = forward
    split        device = head + encode,    server = decode + tail,     uplink carries the boundary
    picture      device = encode picture,   server = preprocess + all,  uplink carries the picture

The link is a warm keep-alive connection: one round trip plus bytes * 8 / bandwidth each way
(1 Mbit/s = 10^6 bit/s). Not modelled: connection set-up, TLS, loss, queueing, and slow start, which
on an idle connection lets some ten segments (14,600 bytes) leave in the first flight and makes a
larger body wait for further round trips (RFC 6928, https://www.rfc-editor.org/rfc/rfc6928, and
RFC 5681 section 4.1). Bytes are those of the message; TCP/IP headers add some 3 %.

Every candidate is priced and the cheapest permitted one taken, so the choice is optimal under the
model, which Neurosurgeon introduced for chains (ASPLOS 2017,
https://doi.org/10.1145/3037697.3037698). The two baselines that often beat a split, all local and
the compressed picture, are always in the answer. `picture_may_leave` says nothing about how much a
boundary tensor reveals of the picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from headtail.plan_inputs import (
    Constraints,
    DeviceTimes,
    Link,
    Picture,
    Problem,
    Quality,
    ServerTimes,
    wire_bytes_of,
)

__all__ = [
    "Candidate",
    "Constraints",
    "DeviceTimes",
    "Link",
    "Picture",
    "Plan",
    "Problem",
    "Quality",
    "ServerTimes",
    "plan",
    "wire_bytes_of",
]

LOCAL, SPLIT, PICTURE = KINDS = ("local", "split", "picture")  # on a tie the earlier one wins


@dataclass(frozen=True)
class Candidate:
    """One way to run, priced. `refused` says which constraint forbids it, "" if none does."""

    kind: str
    name: str
    cut: str | None
    codec: str | None
    device_ms: float
    up_ms: float
    rtt_ms: float
    server_ms: float
    down_ms: float
    total_ms: float
    bytes_up: int
    bytes_down: int
    fidelity: float | None
    refused: str


@dataclass(frozen=True)
class Plan:
    """The answer. `candidates` from fastest to slowest, the refused ones among them.

    `chosen` is None only if the constraints forbid everything, even to run locally. `local` and
    `picture` (the fastest one, None if none was offered) are the baselines. `unmeasured` names the
    splits that lack a time and could not be priced. `meets_deadline` is None without a deadline.
    """

    chosen: Candidate | None
    reason: str
    candidates: tuple[Candidate, ...]
    local: Candidate
    picture: Candidate | None
    unmeasured: tuple[str, ...]
    meets_deadline: bool | None


def plan(problem: Problem) -> Plan:
    """Price every candidate and choose the fastest permitted one; ties go to the one that keeps
    more on the phone (local before split before picture, then fewer bytes up, then by name)."""
    routes, unmeasured = [_local(problem)], []
    for route in _splits(problem):
        if isinstance(route, str):
            unmeasured.append(route)
        else:
            routes.append(route)
    routes += [_picture(problem, picture) for picture in problem.pictures]
    ranked = sorted((_price(route, problem) for route in routes), key=_rank)
    chosen = next((candidate for candidate in ranked if not candidate.refused), None)
    deadline_ms = problem.constraints.deadline_ms
    return Plan(
        chosen=chosen,
        reason=_reason(chosen, ranked, deadline_ms),
        candidates=tuple(ranked),
        local=next(candidate for candidate in ranked if candidate.kind == LOCAL),
        picture=next((candidate for candidate in ranked if candidate.kind == PICTURE), None),
        unmeasured=tuple(unmeasured),
        meets_deadline=None if deadline_ms is None else _in_time(chosen, deadline_ms),
    )


class _Route(NamedTuple):
    kind: str
    name: str
    cut: str | None
    codec: str | None
    device_ms: float
    server_ms: float
    bytes_up: int
    fidelity: float | None


def _local(problem: Problem) -> _Route:
    device_ms, fidelity = problem.device.local_ms, problem.quality.local
    return _Route(LOCAL, LOCAL, None, None, device_ms, 0.0, 0, fidelity)


def _picture(problem: Problem, picture: Picture) -> _Route:
    server_ms = problem.server.preprocess_ms + problem.server.whole_ms
    return _Route(
        kind=PICTURE,
        name=f"picture as {picture.name}",
        cut=None,
        codec=picture.name,
        device_ms=picture.encode_ms,
        server_ms=server_ms,
        bytes_up=picture.size_bytes,
        fidelity=picture.fidelity,
    )


def _splits(problem: Problem) -> Iterator[_Route | str]:
    """Every cut with every codec, or the sentence that says which time is missing."""
    device, server = problem.device, problem.server
    for cut, by_codec in sorted(problem.wire_bytes.items()):
        for codec, bytes_up in sorted(by_codec.items()):
            times = {
                "head_ms": device.head_ms.get(cut),
                "encode_ms": device.encode_ms.get(cut, {}).get(codec),
                "tail_ms": server.tail_ms.get(cut),
            }
            name = f"split at {cut} with {codec}"
            missing = [what for what, ms in times.items() if ms is None]
            if missing:
                yield f"{name}: no {', '.join(missing)}"
                continue
            head_ms, encode_ms, tail_ms = (ms or 0.0 for ms in times.values())
            fidelity = problem.quality.split.get(cut, {}).get(codec)
            device_ms = head_ms + encode_ms
            yield _Route(SPLIT, name, cut, codec, device_ms, tail_ms, bytes_up, fidelity)


def _price(route: _Route, problem: Problem) -> Candidate:
    link, bytes_down = problem.link, problem.server.reply_bytes
    up_ms, down_ms, rtt_ms = 0.0, 0.0, 0.0
    if route.kind == LOCAL:
        bytes_down = 0
    else:
        up_ms = _transfer_ms(route.bytes_up, link.uplink_mbit_s)
        down_ms = _transfer_ms(bytes_down, link.downlink_mbit_s)
        rtt_ms = link.rtt_ms
    return Candidate(
        **route._asdict(),
        up_ms=up_ms,
        rtt_ms=rtt_ms,
        down_ms=down_ms,
        total_ms=route.device_ms + up_ms + rtt_ms + route.server_ms + down_ms,
        bytes_down=bytes_down,
        refused=_refusal(route, problem.constraints),
    )


def _transfer_ms(size_bytes: int, mbit_s: float) -> float:
    return size_bytes * 8 / (mbit_s * 1000)


def _refusal(route: _Route, constraints: Constraints) -> str:
    minimum = constraints.minimum_fidelity
    if route.kind == PICTURE and not constraints.picture_may_leave:
        return "the picture may not leave the phone"
    if minimum is None or (route.fidelity is not None and route.fidelity >= minimum):
        return ""
    if route.fidelity is None:
        return f"its fidelity was not measured, {minimum:g} is asked for"
    return f"its fidelity is {route.fidelity:.3f}, {minimum:g} is asked for"


def _rank(candidate: Candidate) -> tuple[float, int, int, str]:
    return candidate.total_ms, KINDS.index(candidate.kind), candidate.bytes_up, candidate.name


def _in_time(chosen: Candidate | None, deadline_ms: float) -> bool:
    return chosen is not None and chosen.total_ms <= deadline_ms


def _reason(
    chosen: Candidate | None, ranked: Sequence[Candidate], deadline_ms: float | None
) -> str:
    if chosen is None:
        return "Nothing is permitted: " + "; ".join(f"{c.name}: {c.refused}" for c in ranked) + "."
    words = [f"{chosen.name[0].upper()}{chosen.name[1:]} is predicted at {chosen.total_ms:.1f} ms"]
    for kind in KINDS:
        other = next((c for c in ranked if c.kind == kind and c is not chosen), None)
        if other is not None and kind != chosen.kind:
            why = f", but {other.refused}" if other.refused else ""
            words.append(f"{other.name} at {other.total_ms:.1f} ms{why}")
    late = deadline_ms is not None and not _in_time(chosen, deadline_ms)
    missed = (
        f" It misses the deadline of {deadline_ms:g} ms, as all that is permitted." if late else ""
    )
    return "; ".join(words) + "." + missed

"""From a situation to a decision: pure, so that a recorded situation gives the same one again.

    off      local
    force    the fastest permitted split, as long as the breaker lets requests out
    auto     the fastest permitted route of which the times are known

`headtail.plan` prices every route. A route is left for one that is `MARGIN` faster, after
`DWELL_S`; at once for one that is twice as fast, or because it failed. Times that nobody has
measured are never decided by in `auto`: a route that would be fastest if its predicted times held
is tried first, in the background while frames are answered here, or with one hedged frame while
they are split, at most every `TRY_AGAIN_S`. While frames are answered here, a ping now and then
keeps the link's figures true.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

from headtail.offload.estimator import LinkEstimate
from headtail.offload.policy import AUTO, FRAME, LOCAL, OFF, PING, SPLIT, Decision, Policy, Probe
from headtail.plan import (
    Candidate,
    Constraints,
    DeviceTimes,
    Link,
    Plan,
    Problem,
    Quality,
    ServerTimes,
    plan,
)

__all__ = ["Held", "Lately", "Situation", "decide", "priced"]

MARGIN = 0.15  # a route is not left for one that is less than so much faster
CLEARLY = 0.5  # of its time: then at once
DWELL_S = 0.5  # after a change, before the next
HEDGE = 2.0  # times the prediction: then the device begins too
HEDGE_MS = 20.0  # and so much for the clock, the scheduler and the radio
PING_EVERY_S = 0.5
RATE_OLD_S = 2.0  # then a frame is sent in the background
LINK_SHARE = 0.1  # of the time may be spent on such frames
TRY_AGAIN_S = 30.0
TELLING_BYTES = 3000


@dataclass(frozen=True)
class Held:
    """The route that the last frame was decided for, and since when."""

    where: str = LOCAL
    cut: str = ""
    codec: str = ""
    since_s: float = 0.0


@dataclass(frozen=True)
class Lately:
    """What went out lately, None if nothing did: when, how long the last background frame took, and
    when each cut was last tried to learn its times."""

    ping_s: float | None = None
    frame_s: float | None = None
    frame_ms: float = 0.0
    tried_s: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Situation:
    """All that a decision is made from, as JSON can hold it. Times in ms, `now_s` monotonic.

    `barred` says why nothing can be sent whatever happens, "" if something can. `breaker` is the
    value of its state and `failure` what opened it. `busy`: a message is on its way. `known_tails`
    are the cuts of which the server told its time; the others' is predicted.
    """

    now_s: float
    policy: Policy
    barred: str
    breaker: str
    wait_s: float
    failure: str
    busy: bool
    held: Held
    lately: Lately
    link: LinkEstimate
    device: DeviceTimes
    server: ServerTimes
    known_tails: tuple[str, ...]
    wire_bytes: dict[str, dict[str, int]]
    quality: Quality = field(default_factory=Quality)


def priced(situation: Situation) -> Plan | None:
    """Every route's price; None while the link is unknown."""
    link, policy = situation.link, situation.policy
    if link.uplink_mbit_s is None or link.downlink_mbit_s is None:
        return None
    return plan(
        Problem(
            Link(link.uplink_mbit_s, link.downlink_mbit_s, link.rtt_ms or 0.0),
            situation.device,
            situation.server,
            situation.wire_bytes,
            situation.quality,
            (),
            Constraints(policy.minimum_fidelity, policy.picture_may_leave, policy.deadline_ms),
        )
    )


def decide(situation: Situation) -> Decision:
    """Where the next frame goes."""
    decision = _decide(situation)
    held = situation.held
    same = (decision.where, decision.cut, decision.codec) == (held.where, held.cut, held.codec)
    return dataclasses.replace(decision, changed=not same)


def _decide(situation: Situation) -> Decision:
    if situation.policy.mode == OFF:
        return Decision(LOCAL, "Offload is off.")
    if situation.barred or not situation.wire_bytes:
        return Decision(LOCAL, situation.barred or "No cut can be sent with this codec.")
    if situation.breaker != "closed":
        return _left_alone(situation)
    found = priced(situation)
    if situation.policy.mode != AUTO:
        decision = _forced(situation, found)
    else:
        decision = _unmeasured(situation) if found is None else _fastest(situation, found)
    return _waiting(decision) if situation.busy else decision


def _waiting(decision: Decision) -> Decision:
    """What can be done of a decision while an earlier message is on its way."""
    if decision.where == LOCAL:
        return dataclasses.replace(decision, probe=None)
    return Decision(LOCAL, f"{decision.reason} The line still carries an earlier message.")


def _left_alone(situation: Situation) -> Decision:
    """After a failure: here, and a frame in the background once the time has come."""
    if situation.breaker != "open":
        return Decision(LOCAL, f"{situation.failure} The server is being tried again.")
    if situation.wait_s > 0 or situation.busy:
        return Decision(
            LOCAL, f"{situation.failure} It is tried again in {situation.wait_s:.1f} s."
        )
    held = situation.held
    found = priced(situation)
    splits = [] if found is None else [c for c in found.candidates if c.kind == SPLIT]
    cut, codec = _smallest(situation)
    if splits:
        cut, codec = splits[0].cut or cut, splits[0].codec or codec
    elif held.codec in situation.wire_bytes.get(held.cut, {}):
        cut, codec = held.cut, held.codec
    reason = f"{situation.failure} The server is being tried again."
    return Decision(LOCAL, reason, probe=Probe(FRAME, cut, codec))


def _unmeasured(situation: Situation) -> Decision:
    """Nothing is known of the link: a ping first, then the smallest frame, in the background."""
    reason = "The link was not measured yet, or long ago; a message in the background tells."
    if situation.link.rtt_ms is None:
        return Decision(LOCAL, reason, probe=Probe(PING))
    return Decision(LOCAL, reason, probe=Probe(FRAME, *_telling(situation)))


def _forced(situation: Situation, found: Plan | None) -> Decision:
    if found is None:
        return _blind(situation)
    allowed = [c for c in found.candidates if c.kind == SPLIT and not c.refused]
    if not allowed:
        return Decision(LOCAL, f"Offload is forced, but no split is permitted: {found.reason}")
    kept = _kept(situation, allowed)
    best = kept or allowed[0]
    why = "stays the choice" if kept else "is the fastest split"
    reason = f"Offload is forced; {best.name} {why}, predicted at {best.total_ms:.1f} ms."
    return Decision(SPLIT, reason, best.cut or "", best.codec or "", best.total_ms)


def _blind(situation: Situation) -> Decision:
    """Forced, and no times are known: the permitted split that sends least."""
    minimum, split = situation.policy.minimum_fidelity, situation.quality.split
    sizes = _sizes(situation)
    if minimum is not None:
        sizes = {k: n for k, n in sizes.items() if split.get(k[0], {}).get(k[1], -1.0) >= minimum}
    if not sizes:
        reason = f"Offload is forced, but no split is known to have a fidelity of {minimum:g}."
        return Decision(LOCAL, reason)
    cut, codec = min(sizes, key=_by(sizes))
    reason = f"Offload is forced; {cut} with {codec} sends least, times are not known yet."
    return Decision(SPLIT, reason, cut, codec)


def _fastest(situation: Situation, found: Plan) -> Decision:
    """The fastest permitted route of known times, held as long as it is not clearly beaten."""
    allowed = [c for c in found.candidates if not c.refused]
    if not allowed:
        return Decision(LOCAL, f"{found.reason} The device answers.")
    known = [c for c in allowed if c.cut is None or c.cut in situation.known_tails]
    dream, held = allowed[0], situation.held
    untried = dream not in known and _may_try(situation, dream)
    kept = _kept(situation, known)
    best = kept or next(iter(known), found.local)
    if untried and held.where == SPLIT and best.kind == SPLIT:
        reason = f"Trying {dream.name}, of which the server's time is not known yet."
        return _decided(dream, f"{reason} {found.reason}", situation.device)
    reason = found.reason if not kept or kept is allowed[0] else _kept_reason(kept, known[0])
    if untried:
        reason += f" In the background {dream.name} is tried: its tail was never measured."
    decision = _decided(best, reason, situation.device)
    if best.kind == LOCAL:
        probe = _trial(dream) if untried else _upkeep(situation)
        return dataclasses.replace(decision, probe=probe)
    return decision


def _kept(situation: Situation, known: list[Candidate]) -> Candidate | None:
    """The held route, where nothing beats it by enough; None if it is to be left."""
    held = situation.held
    mine = (held.where, held.cut or None, held.codec or None)
    kept = next((c for c in known if (c.kind, c.cut, c.codec) == mine), None)
    if kept is None:
        return None
    best_ms = known[0].total_ms
    if best_ms < kept.total_ms * CLEARLY:
        return None
    rested = situation.now_s - held.since_s >= DWELL_S
    return None if rested and best_ms < kept.total_ms * (1 - MARGIN) else kept


def _kept_reason(kept: Candidate, best: Candidate) -> str:
    name = f"{kept.name[0].upper()}{kept.name[1:]}"
    return (
        f"{name} stays, predicted at {kept.total_ms:.1f} ms; {best.name} at {best.total_ms:.1f} ms "
        "is not enough faster, or not yet for long enough."
    )


def _decided(candidate: Candidate, reason: str, device: DeviceTimes) -> Decision:
    if candidate.kind == LOCAL:
        return Decision(LOCAL, reason, predicted_ms=candidate.total_ms)
    reply_ms = candidate.total_ms - device.head_ms[candidate.cut or ""]
    return Decision(
        SPLIT,
        reason,
        candidate.cut or "",
        candidate.codec or "",
        predicted_ms=candidate.total_ms,
        # A run here cannot be broken off: begun too early, it holds up a reply that is nearly
        # there. To wait as long as it takes costs at most twice the better of both.
        hedge_ms=max(HEDGE * reply_ms + HEDGE_MS, device.local_ms),
    )


def _may_try(situation: Situation, dream: Candidate) -> bool:
    last_s = situation.lately.tried_s.get(dream.cut or "")
    return last_s is None or situation.now_s - last_s >= TRY_AGAIN_S


def _trial(dream: Candidate) -> Probe:
    return Probe(FRAME, dream.cut or "", dream.codec or "")


def _upkeep(situation: Situation) -> Probe | None:
    """What keeps the link's figures true while frames are answered here."""
    now_s, lately = situation.now_s, situation.lately
    age_s = situation.link.rate_age_s
    pause_s = 0.0 if age_s is None else max(RATE_OLD_S, lately.frame_ms / 1e3 / LINK_SHARE)
    old = age_s is None or age_s > RATE_OLD_S
    if old and (lately.frame_s is None or now_s - lately.frame_s >= pause_s):
        return Probe(FRAME, *_telling(situation))
    if lately.ping_s is None or now_s - lately.ping_s >= PING_EVERY_S:
        return Probe(PING)
    return None


def _telling(situation: Situation) -> tuple[str, str]:
    """The smallest frame of which the time tells a bandwidth, beside that of a ping."""
    sizes = _sizes(situation)
    telling = {key: size for key, size in sizes.items() if size >= TELLING_BYTES}
    return min(telling, key=_by(telling)) if telling else max(sizes, key=_by(sizes))


def _smallest(situation: Situation) -> tuple[str, str]:
    """The cut and codec that send least."""
    sizes = _sizes(situation)
    return min(sizes, key=_by(sizes))


def _sizes(situation: Situation) -> dict[tuple[str, str], int]:
    return {
        (cut, codec): size
        for cut, codecs in situation.wire_bytes.items()
        for codec, size in codecs.items()
    }


def _by(sizes: dict[tuple[str, str], int]) -> Callable[[tuple[str, str]], tuple[int, str, str]]:
    return lambda key: (sizes[key], *key)

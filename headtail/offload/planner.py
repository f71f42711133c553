"""From a situation to a decision: pure, so that a recorded situation gives the same one again.

off      local
force    the fastest permitted split, as long as the breaker lets requests out
auto     the fastest permitted route
"""

from __future__ import annotations

from dataclasses import dataclass, field

from headtail.offload.policy import FRAME, LOCAL, SPLIT, Decision, Policy, Probe

__all__ = ["Situation", "decide"]


@dataclass(frozen=True)
class Situation:
    """All that a decision is made from, as JSON can hold it. Times in ms, `now_s` monotonic.

    `barred` says why nothing can be sent whatever happens, "" if something can. `breaker` is the
    value of its state and `failure` what opened it. `busy`: a message is on its way.
    """

    now_s: float
    policy: Policy
    barred: str
    breaker: str
    wait_s: float
    failure: str
    busy: bool
    wire_bytes: dict[str, dict[str, int]] = field(default_factory=dict)


def decide(situation: Situation) -> Decision:
    """Where the next frame goes."""
    policy = situation.policy
    if policy.mode == "off":
        return Decision(LOCAL, "Offload is off.")
    if situation.barred:
        return Decision(LOCAL, situation.barred)
    cut, codec = _smallest(situation)
    if situation.breaker != "closed":
        due = situation.breaker == "open" and situation.wait_s == 0 and not situation.busy
        return Decision(
            LOCAL,
            situation.failure,
            probe=Probe(FRAME, cut, codec) if due else None,
        )
    return Decision(SPLIT, f"Split at {cut} with {codec}.", cut, codec)


def _smallest(situation: Situation) -> tuple[str, str]:
    sizes = {
        (cut, codec): size
        for cut, codecs in situation.wire_bytes.items()
        for codec, size in codecs.items()
    }
    return min(sizes, key=lambda key: (sizes[key], key))

"""The conditions that only a server has, in the tree of `headtail.errors`.

NotReady         503   a tail is still being loaded, or could not be; the text says which
DeadlinePassed   504   the answer could not be in time any more; nothing was computed
Shed             429   too much to do; `retry_after_s` is when there will be room
"""

from __future__ import annotations

from headtail.errors import EnvironmentFault, WireFault

__all__ = ["DeadlinePassed", "NotReady", "Shed"]


class NotReady(EnvironmentFault):
    """The server cannot answer yet, or cannot at all; the text says which."""


class DeadlinePassed(WireFault):
    """The answer could not be in time any more, so nothing was computed."""

    http_status = 504


class Shed(WireFault):
    """The server has too much to do; `reason` is one word for metrics."""

    http_status = 429

    def __init__(self, what: str, *, expected: str, retry_after_s: float, reason: str) -> None:
        super().__init__(
            what,
            expected=expected,
            remedy=f"Ask again in {retry_after_s:.1f} s, and answer on the device meanwhile.",
        )
        self.retry_after_s = retry_after_s
        self.reason = reason

"""Why a caller is turned away, with the statuses of RFC 9110 §15.5.2 to §15.5.6.

    HeadtailError
    └── UsageFault
        ├── Unauthenticated   401   no key, or none that is valid; never says which part was wrong
        ├── Forbidden         403   a valid key that may not do this
        └── NotAllowed        405   a route that is there, but not for this method

Too many requests of one key are `companion_server.conditions.Shed`, 429.
"""

from __future__ import annotations

from collections.abc import Iterable

from headtail.errors import UsageFault

__all__ = ["Forbidden", "NotAllowed", "Unauthenticated"]


class Unauthenticated(UsageFault):
    """No key was given, or none that is valid."""

    http_status = 401


class Forbidden(UsageFault):
    """The caller is known, or needs no key, and may still not do this."""

    http_status = 403


class NotAllowed(UsageFault):
    """The route takes other methods; `allow` lists them as the header of that name does."""

    http_status = 405

    def __init__(self, method: str, path: str, methods: Iterable[str]) -> None:
        self.allow = ", ".join(sorted(methods))
        super().__init__(
            f"{path[:200]} does not take {method[:20]}.",
            expected=f"It takes {self.allow}.",
            remedy="The routes are listed at /openapi.json.",
        )

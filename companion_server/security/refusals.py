"""Why a caller is turned away, with the statuses of RFC 9110 §15.5.2 and §15.5.4.

    HeadtailError
    └── UsageFault
        ├── Unauthenticated   401   no key, or none that is valid; never says which part was wrong
        └── Forbidden         403   a valid key that may not do this

Too many requests of one key are `companion_server.conditions.Shed`, 429.
"""

from __future__ import annotations

from headtail.errors import UsageFault

__all__ = ["Forbidden", "Unauthenticated"]


class Unauthenticated(UsageFault):
    """No key was given, or none that is valid."""

    http_status = 401


class Forbidden(UsageFault):
    """The caller is known, or needs no key, and may still not do this."""

    http_status = 403

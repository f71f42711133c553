"""Pairing: a token that is good once and for some minutes becomes an API key of a phone's own.

    offer      by an admin, or by the server for its terminal: a token, in a code to be scanned
    redeem     by the phone that scanned it: the token is spent and a key with PHONE_SCOPES made

Tokens have 128 bits, live in this process only and there as SHA-256, so neither memory dumps nor
comparison times give one away, and guessing one within its life is hopeless even at full speed. A
peer with more than `ATTEMPTS` wrong ones is told to wait, for the metrics; a right one is taken
from it all the same, or whoever shares a phone's address could keep it from being paired.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import segno

from companion_server.conditions import Shed
from companion_server.security.keyfile import KeyRecord, check_name
from companion_server.security.keys import KeyRing
from companion_server.security.rate import RateLimiter
from companion_server.security.refusals import Forbidden
from companion_server.security.scopes import Scope
from headtail.errors import HeadtailError, UsageFault
from headtail.offload.pairing import PairingCode, build_uri

__all__ = ["PHONE_SCOPES", "Offer", "Pairing", "qr_svg", "qr_text"]

PHONE_SCOPES = (Scope("infer", "*"), Scope("read", "*"))
TOKEN_BYTES = 16
LIFE_S = 300.0
MAX_OFFERS = 32
ATTEMPTS = 5  # at once per peer, then one every RETRY_S
RETRY_S = 30.0
_QUIET = 4  # modules of light around a code, ISO/IEC 18004 §9.1


@dataclass(frozen=True)
class Offer:
    """A code to be scanned; it ends after `life_s` seconds."""

    uri: str
    life_s: float


@dataclass(frozen=True, slots=True)
class _Token:
    digest: bytes
    ends: float  # seconds of the monotonic clock


class Pairing:
    """The tokens of one server process; its methods may be called from any thread.

    `url` is the address that phones are to use, `pin` the fingerprint of its certificate, None
    where an authority vouches for it. Raises `UsageFault` if phones could not pair safely there.
    """

    def __init__(
        self,
        keys: KeyRing,
        *,
        url: str,
        pin: str | None,
        life_s: float = LIFE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # checks address and fingerprint now, not when a phone is waiting; its token is not offered
        self._code = PairingCode(url, pin, secrets.token_urlsafe(TOKEN_BYTES))
        self._keys = keys
        self._life_s = life_s
        self._clock = clock
        self._attempts = RateLimiter(1 / RETRY_S, burst=ATTEMPTS, max_buckets=1024, clock=clock)
        self._tokens: list[_Token] = []
        self._turn = threading.Lock()

    def offer(self) -> Offer:
        """A new token, in a code; `UsageFault` while too many are open."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        with self._turn:
            self._forget()
            if len(self._tokens) >= MAX_OFFERS:
                raise UsageFault(
                    f"{len(self._tokens)} pairing codes are open.",
                    expected=f"At most {MAX_OFFERS} at once.",
                    remedy="Use one of them, or wait until they end.",
                )
            self._tokens.append(_Token(_digest(token), self._clock() + self._life_s))
        uri = build_uri(PairingCode(self._code.url, self._code.pin, token))
        return Offer(uri, self._life_s)

    def redeem(self, token: str, *, name: str, peer: str) -> tuple[str, KeyRecord]:
        """Spend a token: the text of the new key, and its record. Writes the file of keys.

        Raises `UsageFault` for a name that cannot be a key's and `EnvironmentFault` while keys
        cannot be written, which spend nothing; `Forbidden` for a token that is not open; `Shed`
        instead for a peer that tries too often.
        """
        check_name(name)
        with self._turn:
            self._forget()
            found = self._matching(_digest(token))
            if found is None:
                self._count_attempt(peer)
                raise Forbidden(
                    "The pairing token is not open.",
                    expected=f"A token is good once, within {self._life_s:.0f} s of being shown.",
                    remedy="Show a new code and scan that.",
                )
            self._tokens.remove(found)
        try:
            return self._keys.add(name, PHONE_SCOPES)
        except HeadtailError:
            with self._turn:
                self._tokens.append(found)  # no key was made of it
            raise

    def _matching(self, digest: bytes) -> _Token | None:
        # all of them, each in constant time: which one it was shows in no clock
        found = None
        for token in self._tokens:
            if hmac.compare_digest(token.digest, digest):
                found = token
        return found

    def _count_attempt(self, peer: str) -> None:
        wait_s = self._attempts.take(peer)
        if wait_s:
            raise Shed(
                "Too many pairing tokens from this address were wrong.",
                expected=f"{ATTEMPTS} at once, then one every {RETRY_S:.0f} s.",
                retry_after_s=wait_s,
                reason="pairing",
            )

    def _forget(self) -> None:
        now = self._clock()
        self._tokens = [token for token in self._tokens if token.ends > now]


def qr_text(uri: str, *, colour: bool) -> str:
    """The code in half blocks, for a terminal.

    The blocks are its light parts: right as it is on a dark terminal, and with `colour` (white on
    black, ISO/IEC 6429) on every one that knows colours.
    """
    out = io.StringIO()
    segno.make_qr(uri, error="m").terminal(out=out, border=_QUIET, compact=True)
    lines = out.getvalue().rstrip("\n").split("\n")
    return "\n".join(f"\x1b[97;40m{line}\x1b[0m" if colour else line for line in lines)


def qr_svg(uri: str) -> str:
    """The code as an SVG image, dark on white, 4 units a module."""
    return segno.make_qr(uri, error="m").svg_inline(scale=4, border=_QUIET, light="#fff")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()

"""What a pairing code says: `headtail://pair?url=...&fp=...&token=...`, as text and as a QR code.

    url     where the server is
    fp      SHA-256 (hex) of its certificate; absent if an authority vouches for it
    token   good once and for some minutes; exchanged for an API key of the phone's own

Build and parse are inverses of each other. Parsing is strict: a code with a key too many or twice
is none of ours.
"""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from dataclasses import dataclass

from headtail.errors import UsageFault
from headtail.offload.link import Origin
from headtail.offload.pinning import parse_pin

__all__ = ["PairingCode", "build_uri", "parse_uri"]

PREFIX = "headtail://pair?"
MAX_URI = 1024  # more than a QR code that a phone reads from a screen holds
_TOKEN = re.compile(r"[A-Za-z0-9_-]{22,86}")


@dataclass(frozen=True)
class PairingCode:
    """The content of a code; `pin` is 64 hexadecimal digits or None.

    Raises `UsageFault` for what cannot be paired with safely: the key would come back over `url`,
    so that is `https`, or this very device.
    """

    url: str
    pin: str | None
    token: str

    def __post_init__(self) -> None:
        origin = Origin.parse(self.url)
        if not _TOKEN.fullmatch(self.token):
            raise _not_a_code(f"its token is {len(self.token)} characters of another kind")
        if self.pin is not None and parse_pin(self.pin).hex() != self.pin:
            raise _not_a_code("its fingerprint is not 64 small hexadecimal digits")
        if origin.scheme != "https" and (self.pin is not None or not _is_loopback(origin.host)):
            raise _not_a_code(
                f"{self.url[:200]!r} is not https, so its key could be read by others"
            )


def build_uri(code: PairingCode) -> str:
    """The text of a code."""
    fields = {"url": code.url, "fp": code.pin, "token": code.token}
    given = {name: value for name, value in fields.items() if value is not None}
    return PREFIX + urllib.parse.urlencode(given, quote_via=urllib.parse.quote, safe="")


def parse_uri(uri: str) -> PairingCode:
    """The inverse of `build_uri`; `UsageFault` for anything else."""
    if not uri.startswith(PREFIX) or len(uri) > MAX_URI or not uri.isascii():
        raise _not_a_code(f"it begins with {uri[:20]!r} and has {len(uri)} characters")
    try:
        pairs = urllib.parse.parse_qsl(
            uri[len(PREFIX) :], keep_blank_values=True, strict_parsing=True, errors="strict"
        )
    except ValueError as error:
        raise _not_a_code(str(error)) from None
    fields = dict(pairs)
    if len(fields) != len(pairs) or not {"url", "token"} <= set(fields) <= {"url", "fp", "token"}:
        raise _not_a_code(f"it has the fields {[name[:20] for name, _ in pairs][:8]}")
    return PairingCode(fields["url"], fields.get("fp"), fields["token"])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _not_a_code(why: str) -> UsageFault:
    return UsageFault(
        f"This is not a Headtail pairing code: {why}.",
        expected=f"A code reads {PREFIX}url=...&fp=...&token=...",
        remedy="Scan the code that `headtail serve` or its status page shows.",
    )

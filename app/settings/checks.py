"""What a person types, checked letter by letter: an empty sentence, or what is still wrong with it.

The texts are short because they stand below a field while it is being typed in.
"""

from __future__ import annotations

from headtail.errors import UsageFault
from headtail.offload.client import authorization
from headtail.offload.link import Origin
from headtail.offload.pairing import PREFIX, parse_uri

__all__ = ["DEADLINE_MS", "QUOTA_MB", "check_key", "check_number", "check_server"]

DEADLINE_MS = (20, 60_000)  # a person waits no longer than a minute, no network is faster
QUOTA_MB = (16, 1_000_000)


def check_server(text: str) -> str:
    """A pairing code or an address."""
    text = text.strip()
    if not text:
        return ""
    if text.startswith(PREFIX):
        try:
            parse_uri(text)
        except UsageFault as error:
            return error.what
        return ""
    try:
        Origin.parse(text)
    except UsageFault:
        return f"Not yet https://HOST:PORT or {PREFIX}..."
    return ""


def check_key(text: str) -> str:
    """An API key."""
    try:
        authorization(text.strip() or None)
    except UsageFault:
        return "A key reads ht_<id>_<secret>, as `headtail keys add` printed it."
    return ""


def check_number(text: str, allowed: tuple[int, int], unit: str) -> str:
    """A whole number from `allowed[0]` to `allowed[1]`."""
    text = text.strip()
    least, most = allowed
    if text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most:
        return ""
    return f"A whole number from {least} to {most} {unit}."

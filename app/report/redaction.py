"""No address, pairing code, key or folder of a person's is in anything that may be shown to others.

A report has no field for them; but sentences are quoted in it (why a frame was computed here, why a
runtime refused a file), and a sentence may name a server. So every text of it goes through here:
what looks like an address or a code goes, and what is known to be one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["redacted", "redacted_text"]

ADDRESS = "[address]"
CODE = "[code]"
SECRET = "[hidden]"
FOLDER = "[folder]"
LEAST = 4  # letters; a shorter name would take words apart
_CODE = re.compile(r"headtail://\S+", re.IGNORECASE)
_URL = re.compile(r"\b(?:https?|wss?|grpcs?|ftp|file)://[^\s\"'<>]+", re.IGNORECASE)
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?(?![\w.]*\d)")
_IPV6 = re.compile(  # with bounds: a text of colons must not take minutes
    r"\[(?=[0-9a-f]{0,4}:)[0-9a-f:.]{2,45}(?:%\w{1,16})?\](?::\d{1,5})?", re.IGNORECASE
)
_HOST_PORT = re.compile(r"(?<![\w.-])[a-z][\w-]*(?:\.[\w-]+)*:\d{2,5}\b", re.IGNORECASE)
_BEARER = re.compile(r"\bBearer\s+\S+", re.IGNORECASE)


def redacted(value: Any, secrets: Iterable[str]) -> Any:
    """The same plain JSON value with every text of it redacted; keys of objects stay."""
    known = _longest_first(secrets)
    return _walked(value, known)


def redacted_text(text: str, secrets: Iterable[str]) -> str:
    """One text without what looks like an address or code, and without any of `secrets`."""
    return _clean(text, _longest_first(secrets))


def _walked(value: Any, known: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        return _clean(value, known)
    if isinstance(value, dict):
        return {key: _walked(item, known) for key, item in value.items()}
    if isinstance(value, list):
        return [_walked(item, known) for item in value]
    return value


def _clean(text: str, known: tuple[str, ...]) -> str:
    for secret in known:
        text = re.sub(re.escape(secret), SECRET, text, flags=re.IGNORECASE)
    text = _BEARER.sub(SECRET, _CODE.sub(CODE, text))
    for pattern in (_URL, _IPV6, _IPV4, _HOST_PORT):
        text = pattern.sub(ADDRESS, text)
    home = str(Path.home())
    return text.replace(home, FOLDER) if len(home) >= LEAST else text


def _longest_first(secrets: Iterable[str]) -> tuple[str, ...]:
    # an address holds its host: the whole first, or a half would stay
    return tuple(sorted({s for s in secrets if len(s) >= LEAST}, key=lambda s: (-len(s), s)))

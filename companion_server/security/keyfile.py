"""The file of API keys: `{"schema_version": 1, "keys": [...]}`, strict, as text of UTC times.

Nothing in it can be used as a key; who can change it can make keys, hence its mode and its folder's
are checked where it is read.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from companion_server.security.scopes import Scope
from headtail.errors import SchemaFault, UsageFault
from headtail.strictjson import from_json, parse, to_json

__all__ = ["KeyFile", "KeyRecord", "check_name", "from_time", "to_time"]

SCHEMA_VERSION = 1
MAX_KEYS = 5_000
MAX_NAME = 64
_NEVER = float("inf")
_ID = re.compile(r"[0-9a-f]{12}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def from_time(seconds: float) -> str:
    """Seconds of the wall clock as `2026-11-21T20:30:00+00:00`."""
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC).isoformat()


def to_time(text: str) -> float:
    """The inverse of `from_time`; `UsageFault` for what is no date with an offset."""
    try:
        date = datetime.datetime.fromisoformat(text)
    except ValueError:
        date = datetime.datetime.min
    if date.tzinfo is None:
        raise UsageFault(
            f"{text[:80]!r} is not a date.",
            expected="A date is written YYYY-MM-DDTHH:MM:SS+00:00.",
            remedy="Correct it.",
        )
    return date.timestamp()


def check_name(name: str) -> str:
    """`name`, if it can stand in lists and logs; else `UsageFault`."""
    if not name.strip() or not name.isprintable() or len(name) > MAX_NAME:
        raise UsageFault(
            f"{name[:MAX_NAME]!r} cannot be the name of a key.",
            expected=f"A name has 1 to {MAX_NAME} printable characters.",
            remedy="Name the person or the device that has the key.",
        )
    return name


@dataclass(frozen=True)
class KeyRecord:
    """One key on file; `expires` and `revoked` are None if they never were set."""

    id: str
    name: str
    sha256: str
    created: str
    expires: str | None
    revoked: str | None
    scopes: tuple[str, ...]

    def __post_init__(self) -> None:
        check_name(self.name)
        if not _ID.fullmatch(self.id) or not _SHA256.fullmatch(self.sha256) or not self.scopes:
            raise UsageFault(
                f"Key {self.id[:40]!r} is not whole.",
                expected="It has an id of 12 and a hash of 64 hexadecimal digits, and a scope.",
                remedy="Make keys with `headtail keys add`.",
            )
        for text in self.scopes:
            Scope.parse(text)
        for date in (self.created, self.expires, self.revoked):
            if date is not None:
                to_time(date)

    @property
    def until(self) -> float:
        """When it ends, in seconds of the wall clock; infinite if nothing ends it."""
        ends = [to_time(date) for date in (self.expires, self.revoked) if date is not None]
        return min(ends, default=_NEVER)

    def state(self, now: float) -> str:
        """`revoked`, `expired` or `good`."""
        if self.revoked is not None and to_time(self.revoked) <= now:
            return "revoked"
        return "expired" if self.until <= now else "good"


@dataclass(frozen=True)
class KeyFile:
    """The file as a whole."""

    schema_version: int
    keys: tuple[KeyRecord, ...]

    def __post_init__(self) -> None:
        ids = {record.id for record in self.keys}
        if self.schema_version != SCHEMA_VERSION or len(ids) != len(self.keys):
            raise UsageFault(
                f"Version {self.schema_version} with {len(self.keys)} keys of {len(ids)} ids.",
                expected=f"Version {SCHEMA_VERSION}, and every id once.",
                remedy="Restore the file from a copy.",
            )
        if len(self.keys) > MAX_KEYS:
            raise UsageFault(
                f"There would be {len(self.keys)} keys.",
                expected=f"At most {MAX_KEYS}, of which dead ones leave after 90 days.",
                remedy="Revoke keys that nobody uses.",
            )

    @classmethod
    def of(cls, keys: Sequence[KeyRecord]) -> KeyFile:
        """A file of these keys."""
        return cls(SCHEMA_VERSION, tuple(keys))

    @classmethod
    def parse(cls, data: bytes, path: Path) -> KeyFile:
        """From the file's bytes; `SchemaFault` names the place."""
        try:
            return from_json(cls, parse(data))
        except SchemaFault as error:
            raise SchemaFault(
                f"{path}: {error.what.rsplit(' @ ', 1)[0]}",
                error.path,
                remedy="Restore the file from a copy, or remove it and make new keys.",
            ) from None

    def to_bytes(self) -> bytes:
        """Indented, so that a person can read it."""
        return (json.dumps(to_json(self), indent=1) + "\n").encode()

"""API keys: made, kept as hashes in one file, checked, rotated and revoked.

A key reads `ht_<id>_<secret>`: an id of 48 bits, by which it is found and named in logs, and a
secret of 256 bits from the system's generator. The file has SHA-256 of the secret and nothing that
could be tried as a key. A slow, salted hash is for passwords, which can be guessed; 256 random bits
cannot, so a fast one loses nothing and costs a request 1 us instead of 100 ms (NIST SP 800-63B
§5.1.2.2: secrets of 112 bits and more need an approved one-way function, only weaker ones salt and
key stretching, https://pages.nist.gov/800-63-3/sp800-63b.html).

Secrets are compared with `hmac.compare_digest`; an unknown id takes the same steps against a hash
that no secret has. The file is replaced whole, and read again whenever it is another, so that
adding, rotating and revoking need no restart. While it cannot be read, no key is good.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import hmac
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from companion_server.security.keyfile import KeyFile, KeyRecord, from_time, to_time
from companion_server.security.private_files import (
    locked,
    private_folder,
    read_private,
    write_private,
)
from companion_server.security.scopes import Principal, Scope
from headtail.errors import EnvironmentFault, HeadtailError, UnknownName, UsageFault

__all__ = ["FILE_NAME", "KeyRing", "key_id_of"]

log = logging.getLogger(__name__)
FILE_NAME = "keys.json"
SECRET_BYTES = 32
MAX_FILE_BYTES = 16 << 20
RETAINED_S = 90 * 86400.0  # a dead key stays listed for so long
_KEY = re.compile(r"ht_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NEVER = float("inf")
_Identity = tuple[int, int, int]
_STALE: _Identity = (-1, -1, -1)


@dataclass(frozen=True, slots=True)
class _Live:
    """A key in the form that checking needs; `until` in seconds of `time.time()`."""

    principal: Principal
    digest: bytes
    until: float


@dataclass(frozen=True, slots=True)
class _View:
    """The file as it was last read; `identity` is None for an absent file."""

    identity: _Identity | None
    live: Mapping[str, _Live]
    fault: HeadtailError | None


_UNKNOWN = _Live(Principal("", "", ()), bytes(32), -_NEVER)


def key_id_of(key: str) -> str | None:
    """The id in a key's text; None if it is not written as keys are."""
    found = _KEY.fullmatch(key)
    return found[1] if found else None


class KeyRing:
    """The keys of one server, in `folder / "keys.json"`; an absent file is an empty ring.

    `clock` is wall clock time in seconds, as expiry is a date. Reading raises `SchemaFault` for a
    file that is not what this module wrote and `EnvironmentFault` for one that others may read.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = private_folder(folder) / FILE_NAME
        self._name = str(self.path)
        self._clock = clock
        self._view = self._look()
        if self._view.fault is not None:
            raise self._view.fault

    def check(self, key: str) -> Principal | None:
        """Whose key it is; None if it is malformed, unknown, wrong, revoked or expired.

        Raises `EnvironmentFault` while the file cannot be trusted.
        """
        view = self._refreshed()
        found = _KEY.fullmatch(key)
        if found is None:
            return None
        live = view.live.get(found[1], _UNKNOWN)
        same = hmac.compare_digest(hashlib.sha256(found[2].encode()).digest(), live.digest)
        return live.principal if same & (self._clock() < live.until) else None

    def still_good(self, key_id: str) -> bool:
        """Whether a key that was checked before has not ended since, for what lasts long."""
        return self._clock() < self._refreshed().live.get(key_id, _UNKNOWN).until

    def records(self) -> tuple[KeyRecord, ...]:
        """Every key on file, without its secret, oldest first."""
        return self._read().keys

    def add(
        self, name: str, scopes: tuple[Scope, ...], *, expires: float | None = None
    ) -> tuple[str, KeyRecord]:
        """Make a key: its text, which is nowhere kept, and its record.

        `expires` is in seconds of the wall clock. Raises `UsageFault` for a name, scopes or a date
        that cannot be.
        """
        with self._edit() as keys:
            text, record = self._make(name, tuple(map(str, scopes)), expires)
            keys.append(record)
        return text, record

    def revoke(self, key_id: str) -> KeyRecord:
        """End a key now. `UnknownName` lists the ids on file."""
        with self._edit() as keys:
            place = _place(keys, key_id)
            now = from_time(self._clock())
            record = dataclasses.replace(keys[place], revoked=keys[place].revoked or now)
            keys[place] = record
        return record

    def rotate(self, key_id: str, *, grace_s: float) -> tuple[str, KeyRecord]:
        """A second key of the same name and scopes; the old one ends after `grace_s` seconds.

        The new one lives as long as the old one was to, from now on. The old one's own end stays if
        that is earlier. Raises `UsageFault` for a key that has ended.
        """
        with self._edit() as keys:
            place = _place(keys, key_id)
            old, now = keys[place], self._clock()
            if old.until <= now:
                raise UsageFault(
                    f"Key {key_id} ended on {old.revoked or old.expires}.",
                    expected="A key is rotated while it is good.",
                    remedy="Make a new one with `headtail keys add`.",
                )
            keys[place] = dataclasses.replace(old, expires=from_time(min(old.until, now + grace_s)))
            until = None
            if old.expires is not None:  # what was to end is not to live for ever now
                until = now + to_time(old.expires) - to_time(old.created)
            text, record = self._make(old.name, old.scopes, until)
            keys.append(record)
        return text, record

    def _make(
        self, name: str, scopes: tuple[str, ...], expires: float | None
    ) -> tuple[str, KeyRecord]:
        now = self._clock()
        if expires is not None and expires <= now:
            raise UsageFault(
                f"The key would end on {from_time(expires)}, which has passed.",
                expected="A key ends in the future, or never.",
                remedy="Give a later date.",
            )
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(SECRET_BYTES)
        record = KeyRecord(
            id=key_id,
            name=name,
            sha256=hashlib.sha256(secret.encode()).hexdigest(),
            created=from_time(now),
            expires=None if expires is None else from_time(expires),
            revoked=None,
            scopes=scopes,
        )
        return f"ht_{key_id}_{secret}", record

    @contextlib.contextmanager
    def _edit(self) -> Iterator[list[KeyRecord]]:
        """The records, to change in place; written when the block ends well.

        Raises `EnvironmentFault` if they cannot be, the file being what it was.
        """
        with locked(self.path.parent):  # `headtail keys` and a pairing may meet
            forget = self._clock() - RETAINED_S
            keys = [record for record in self._read().keys if record.until > forget]
            yield keys
            try:
                write_private(self.path, KeyFile.of(keys).to_bytes())
            except OSError as error:
                raise EnvironmentFault(
                    f"The server's keys cannot be written: {error.strerror}.",
                    expected="There is room for them, and the server may write its state folder.",
                    remedy="Free some space there, or correct the folder's owner and mode.",
                ) from None
            self._view = dataclasses.replace(self._view, identity=_STALE)

    def _read(self) -> KeyFile:
        try:
            return KeyFile.parse(read_private(self.path, limit=MAX_FILE_BYTES)[0], self.path)
        except FileNotFoundError:
            return KeyFile.of([])

    def _refreshed(self) -> _View:
        # replaced as one value: pairing writes from another thread while requests are checked
        if self._identity() != self._view.identity:
            self._view = self._look()
            if self._view.fault is not None:
                log.error("No key is accepted: %s", self._view.fault)
        if self._view.fault is not None:
            raise EnvironmentFault(
                "The server cannot read its keys.",
                expected="They are in a private file of the server's state folder.",
                remedy="See the server's log.",
            )
        return self._view

    def _look(self) -> _View:
        # a file replaced between this and the read is another again at the next request
        identity = self._identity()
        try:
            return _View(identity, {record.id: _live(record) for record in self._read().keys}, None)
        except HeadtailError as error:
            return _View(identity, {}, error)
        except OSError as error:
            fault = EnvironmentFault(
                f"{self.path} cannot be read: {error}.",
                expected="The server's own user may read its keys.",
                remedy="Correct the file's owner and mode.",
            )
            return _View(identity, {}, fault)

    def _identity(self) -> _Identity | None:
        try:
            status = os.stat(self._name)  # noqa: PTH116  # per request, and half of Path's cost
        except OSError:
            return None
        # the inode changes with every atomic write, the change time also with chmod
        return status.st_ino, status.st_ctime_ns, status.st_size


def _live(record: KeyRecord) -> _Live:
    scopes = tuple(Scope.parse(text) for text in record.scopes)
    principal = Principal(record.id, record.name, scopes)
    return _Live(principal, bytes.fromhex(record.sha256), record.until)


def _place(keys: list[KeyRecord], key_id: str) -> int:
    for place, record in enumerate(keys):
        if record.id == key_id:
            return place
    raise UnknownName("key", key_id[:80], (record.id for record in keys))

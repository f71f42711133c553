"""The companion servers that this device knows: address, name, fingerprint, key.

They are in one file of the app's own folder, which on a phone no other app can read, and elsewhere
nobody but its owner (mode 0600). An address that is not in it is asked as it is: without a key, and
over https only if an authority vouches for it.

Threads may share a `Servers`: a lock is held while the file is read or written, and another while a
code is redeemed, so that two who ask for the same code spend it once and nobody else waits.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import threading
from dataclasses import dataclass
from pathlib import Path

from headtail.errors import EnvironmentFault, SchemaFault, UnknownName
from headtail.offload.client import Companion, authorization, pair
from headtail.offload.link import Origin
from headtail.offload.pairing import PREFIX
from headtail.strictjson import canonical_bytes, from_json, parse

__all__ = ["MAX_NAME", "Server", "Servers", "is_code"]

SCHEMA_VERSION = 2
MAX_NAME = 64  # what a server takes as the name of a key; also the longest name of a server here


@dataclass(frozen=True)
class _Known:
    url: str
    name: str
    pin: str | None
    key: str | None


@dataclass(frozen=True)
class _File:
    schema_version: int
    servers: tuple[_Known, ...]


@dataclass(frozen=True)
class Server:
    """A known server as a screen may show it: the key itself is not in it.

    `name` is the person's own, the address until they give one. `pin` is the fingerprint (SHA-256,
    hex) by which it is recognised, None where an authority vouches for it or the link is plain.
    """

    address: str
    name: str
    pin: str | None
    has_key: bool


def is_code(text: str) -> bool:
    """Whether `text` is meant as a pairing code, not as an address."""
    return text.startswith(PREFIX)


class Servers:
    """What is known, in `file`; with None it lasts as long as this object.

    A file that cannot be read (a newer version's, or damaged) is put aside as `servers.json.bad`:
    the first method that needs it raises `EnvironmentFault`, and from then on nothing is known. A
    change that cannot be written raises that as well, and holds as long as this object.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._held: dict[str, _Known] | None = None
        self._spent: dict[str, str] = {}  # codes and the addresses they gave
        self._lock = threading.Lock()
        self._redeeming = threading.Lock()

    def known(self) -> tuple[Server, ...]:
        """Every known server, in the order in which they came."""
        with self._lock:
            held = tuple(self._read().values())
        return tuple(Server(k.url, k.name or k.url, k.pin, k.key is not None) for k in held)

    def pair(self, code: str) -> str:
        """Redeem a pairing code, once, and remember the server: its address.

        Raises what `headtail.offload.client.pair` raises; the code is not spent if the file here
        cannot be read.
        """
        with self._redeeming:
            if code in self._spent:
                return self._spent[code]
            with self._lock:
                self._read()
            url, pin, key = pair(code, name=_own_name())
            address = self._spent[code] = str(Origin.parse(url))
            with self._lock:
                former = self._read().get(address)
                self._put(_Known(address, former.name if former else "", pin, key))
            return address

    def add(self, address: str) -> str:
        """Remember a server by its address alone, as it is asked without pairing; the address as it
        is written from now on. One that is known stays as it was. `UsageFault` for no address.
        """
        address = str(Origin.parse(address))
        with self._lock:
            if address not in self._read():
                self._put(_Known(address, "", None, None))
        return address

    def rename(self, address: str, name: str) -> None:
        """Give a server a name of one's own, "" to call it by its address again."""
        printable = "".join(letter if letter.isprintable() else " " for letter in name)
        tidy = " ".join(printable.split())[:MAX_NAME]
        self._change(address, name=tidy)

    def set_key(self, address: str, key: str | None) -> None:
        """Use an API key that was typed, None for no key; `UsageFault` for what is no key."""
        authorization(key)
        self._change(address, key=key)

    def forget(self, address: str) -> None:
        """Remove a server, its key and fingerprint from the file; one that is not there is gone."""
        with self._lock:
            held = self._read()
            if held.pop(address, None) is not None:
                self._write()

    def companion(self, address: str) -> Companion:
        """A client of the server there, with what is known of it; `UsageFault` for no address."""
        pin, key = self.access(address)
        return Companion(str(Origin.parse(address)), pin=pin, key=key)

    def access(self, address: str) -> tuple[str | None, str | None]:
        """The fingerprint and key of the server there, None for what is not known: a companion that
        was made with others is out of date. `UsageFault` for no address.
        """
        origin = str(Origin.parse(address))
        with self._lock:
            known = self._read().get(origin)
        return (None, None) if known is None else (known.pin, known.key)

    def _change(self, address: str, **changes: str | None) -> None:
        with self._lock:
            held = self._read()
            if address not in held:
                raise UnknownName("server", address, held)
            self._put(dataclasses.replace(held[address], **changes))  # type: ignore[arg-type]  # names are ours

    def _put(self, known: _Known) -> None:
        self._read()[known.url] = known
        self._write()

    def _read(self) -> dict[str, _Known]:
        if self._held is None:
            held = _File(SCHEMA_VERSION, ())
            if self._file is not None and self._file.exists():
                try:
                    held = from_json(_File, parse(self._file.read_bytes()))
                except (SchemaFault, OSError) as error:
                    self._held = {}
                    raise _put_aside(self._file, error) from None
            self._held = {known.url: known for known in held.servers}
        return self._held

    def _write(self) -> None:
        if self._file is None:
            return
        part = self._file.with_suffix(".part")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            part.unlink(missing_ok=True)
            # born private: a file that could be read for an instant was read
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as out:
                out.write(canonical_bytes(_File(SCHEMA_VERSION, tuple(self._read().values()))))
                out.flush()
                os.fsync(out.fileno())
            part.replace(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise EnvironmentFault(
                f"The list of servers could not be written: {error.strerror or error}.",
                expected=f"It is kept in {self._file}; until then the change holds as long as the "
                "app runs.",
                remedy="Make room there, and do it again.",
            ) from None


def _put_aside(file: Path, error: SchemaFault | OSError) -> EnvironmentFault:
    aside = file.with_suffix(".json.bad")
    with contextlib.suppress(OSError):
        file.replace(aside)
    said = error.what if isinstance(error, SchemaFault) else str(error)
    return EnvironmentFault(
        f"The list of servers could not be read: {said.rstrip('.')}.",
        expected=f"It was put aside as {aside.name}; no server is known now.",
        remedy="Pair your servers again.",
    )


def _own_name() -> str:
    name = "".join(letter for letter in platform.node() if letter.isprintable())
    return name[:MAX_NAME] or "phone"

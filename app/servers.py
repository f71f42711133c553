"""The companion servers that this device was paired with: address, fingerprint, key.

They are in one file of the app's own folder, which on a phone no other app can read, and elsewhere
nobody but its owner (mode 0600). An address that is in no pairing is asked as it is: without a key,
and over https only if an authority vouches for it.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from headtail.offload.client import Companion, pair
from headtail.offload.link import Origin
from headtail.offload.pairing import PREFIX
from headtail.strictjson import canonical_bytes, from_json, parse

__all__ = ["Servers", "is_code"]

SCHEMA_VERSION = 1
MAX_NAME = 64  # what a server takes as the name of a key


@dataclass(frozen=True)
class _Pairing:
    url: str
    pin: str | None
    key: str


@dataclass(frozen=True)
class _File:
    schema_version: int
    servers: tuple[_Pairing, ...]


def is_code(text: str) -> bool:
    """Whether `text` is meant as a pairing code, not as an address."""
    return text.startswith(PREFIX)


class Servers:
    """Pairings in `file`; with None they last as long as this object. For one thread."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._paired: dict[str, _Pairing] | None = None
        self._spent: dict[str, str] = {}  # codes and the addresses they gave

    def pair(self, code: str) -> str:
        """Redeem a pairing code, once, and remember the server: its address.

        Raises what `headtail.offload.client.pair` raises, and `SchemaFault` for a file that is not
        ours; then the code is not spent.
        """
        if code in self._spent:
            return self._spent[code]
        paired = self._read()
        name = "".join(letter for letter in platform.node() if letter.isprintable())
        url, pin, key = pair(code, name=name[:MAX_NAME] or "phone")
        address = str(Origin.parse(url))
        paired[address] = _Pairing(address, pin, key)
        self._spent[code] = address
        self._write(tuple(paired.values()))
        return address

    def companion(self, address: str) -> Companion:
        """A client of the server there, with what pairing gave; `UsageFault` for no address."""
        known = self._read().get(str(Origin.parse(address)))
        if known is None:
            return Companion(address)
        return Companion(known.url, pin=known.pin, key=known.key)

    def _read(self) -> dict[str, _Pairing]:
        if self._paired is None:
            held = _File(SCHEMA_VERSION, ())
            if self._file is not None and self._file.exists():
                held = from_json(_File, parse(self._file.read_bytes()))
            self._paired = {pairing.url: pairing for pairing in held.servers}
        return self._paired

    def _write(self, servers: tuple[_Pairing, ...]) -> None:
        if self._file is None:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        part = self._file.with_suffix(".part")
        part.unlink(missing_ok=True)
        # born private: a file that could be read for an instant was read
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(canonical_bytes(_File(SCHEMA_VERSION, servers)))
            out.flush()
            os.fsync(out.fileno())
        part.replace(self._file)

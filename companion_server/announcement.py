"""What a server that has just become ready says to whoever started it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, TextIO

__all__ = ["Announcement", "print_announcement"]


@dataclass(frozen=True)
class Announcement:
    """Where it listens and how it is reached.

    `fingerprint` is the SHA-256 of its certificate, empty without TLS; `key` an API key that was
    made at this start, the only time that it is ever shown; `pairing` the URI of a pairing code for
    a phone, empty on a server without keys; `grpc` the address for gRPC, empty without.
    """

    url: str
    fingerprint: str = ""
    key: str = ""
    pairing: str = ""
    grpc: str = ""

    def to_json(self) -> dict[str, Any]:
        """For `--json`; what is empty is left out."""
        told = {
            "url": self.url,
            "fingerprint": self.fingerprint,
            "key": self.key,
            "pairing": self.pairing,
            "grpc": self.grpc,
        }
        return {name: value for name, value in told.items() if value}


def print_announcement(told: Announcement, *, to: TextIO | None = None) -> None:
    """The line `listening on URL`, then what else there is, with the pairing code to be scanned."""
    out = to or sys.stdout
    print(f"listening on {told.url}", file=out)
    if told.grpc:
        print(f"gRPC on {told.grpc}", file=out)
    if told.fingerprint:
        print(f"certificate SHA-256 {told.fingerprint}", file=out)
    if told.key:
        print(f"API key, shown this once: {told.key}", file=out)
    if told.pairing:
        from companion_server.security.pairing import qr_text

        print("scan this with the app to pair a phone (good once, for a few minutes):", file=out)
        print(qr_text(told.pairing, colour=out.isatty()), file=out)
        print(told.pairing, file=out)
    out.flush()

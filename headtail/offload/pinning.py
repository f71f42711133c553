"""A server known by its certificate instead of by an authority: the pin is the SHA-256 of it.

The whole certificate (DER) is compared right after the handshake, in which the server proved that
it has the key, and before a byte of the first request is sent. Names, dates and authorities do not
matter then: whoever paired the phone showed it this very certificate. What an attacker in between
can do is to be refused.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import socket
import ssl
from collections.abc import Callable

from headtail.errors import ServerUnreachable, UsageFault

__all__ = ["CertificateChanged", "Trust", "parse_pin"]

_PIN = re.compile(r"[0-9a-f]{64}")


class CertificateChanged(ServerUnreachable):
    """Another certificate than the pinned one: another server, or somebody in between.

    Nothing was sent. `Companion` does not connect again; make a new one after pairing anew.
    """


def parse_pin(text: str) -> bytes:
    """The 32 bytes of a pin; colons and capitals, as browsers show it, are taken too."""
    digits = text.replace(":", "").lower()
    if not _PIN.fullmatch(digits):
        raise UsageFault(
            f"{text[:100]!r} is not a certificate's fingerprint.",
            expected="A pin is SHA-256 of the certificate, 64 hexadecimal digits.",
            remedy="Take it from the pairing code or from what `headtail serve` printed.",
        )
    return bytes.fromhex(digits)


class Trust:
    """How a server is recognised: by `context`, by the pin, or by the system's authorities."""

    def __init__(self, context: ssl.SSLContext | None, pin: bytes | None) -> None:
        self._context = context
        self._pin = pin
        self._broken: CertificateChanged | None = None

    def check(self) -> None:
        """`CertificateChanged` if that has happened before."""
        if self._broken is not None:
            raise self._broken

    def secure(
        self,
        raw: socket.socket,
        *,
        host: str,
        where: str,
        began: Callable[[ssl.SSLSocket], None] = lambda _secured: None,
    ) -> ssl.SSLSocket:
        """TLS over a connected socket; raises `CertificateChanged` with nothing of a request sent.

        The raw socket is the caller's to close if this raises. `began` hears of the socket that
        takes its place, before the handshake, which may have to be broken off.
        """
        if self._context is None:  # kept: reading the authorities takes longer than a handshake
            self._context = ssl.create_default_context() if self._pin is None else _bare_context()
        secured = self._context.wrap_socket(
            raw, server_hostname=host, do_handshake_on_connect=False
        )
        try:
            began(secured)
            secured.do_handshake()
        except BaseException:
            secured.close()
            raise
        if self._pin is not None:
            certificate = secured.getpeercert(binary_form=True) or b""
            found = hashlib.sha256(certificate).digest()
            if not hmac.compare_digest(found, self._pin):
                secured.close()
                self._broken = _changed(where, found, self._pin)
                raise self._broken
        return secured


def _bare_context() -> ssl.SSLContext:
    # without authorities and names: only good where the certificate itself is compared
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _changed(where: str, found: bytes, pin: bytes) -> CertificateChanged:
    return CertificateChanged(
        f"The server at {where} has a certificate with fingerprint {found.hex()}.",
        expected=f"This device was paired with {pin.hex()}.",
        remedy="If the server was set up anew, pair again; else do not trust this network.",
    )

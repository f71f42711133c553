"""What stands before the application: certificate, keys, pairing, rate limits, audit log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from companion_server.security.audit import AuditLog
from companion_server.security.certificates import (
    Certificate,
    ensure_certificate,
    load_certificate,
    machine_names,
)
from companion_server.security.keys import KeyRing
from companion_server.security.pairing import Pairing
from companion_server.security.rate import RateLimiter
from companion_server.security.scopes import VERBS, Scope
from headtail.errors import UsageFault

if TYPE_CHECKING:
    from companion_server.settings import Settings

__all__ = ["Guard", "certificate_of", "first_key"]

ADMIN = "admin"


def certificate_of(settings: Settings) -> Certificate | None:
    """The one that was named, or the server's own, made now if need be; None without TLS."""
    if not settings.tls:
        return None
    if (settings.certificate is None) != (settings.private_key is None):
        raise UsageFault(
            f"certificate is {settings.certificate} and private_key {settings.private_key}.",
            expected="A certificate and its key are named together.",
            remedy="Name both, or neither for the server's own.",
        )
    if settings.certificate is not None and settings.private_key is not None:
        return load_certificate(settings.certificate, settings.private_key)
    return ensure_certificate(settings.state_dir, names=(settings.host,))


def first_key(settings: Settings) -> str:
    """An API key for everything if the server has none yet; it is shown and not kept."""
    if not settings.auth:
        return ""
    keys = KeyRing(settings.state_dir)
    if keys.records():
        return ""
    return keys.add(ADMIN, tuple(Scope(verb, "*") for verb in VERBS))[0]


@dataclass(frozen=True)
class Guard:
    """As `create_app` takes it; the default lets everybody in, for loopback and tests."""

    keys: KeyRing | None = None
    pairing: Pairing | None = None
    rate: RateLimiter | None = None
    audit: AuditLog | None = None
    certificate: Certificate | None = None

    @classmethod
    def of(cls, settings: Settings, url: str, certificate: Certificate | None) -> Guard:
        """From the settings; `url` is where the server listens."""
        if not settings.auth:
            return cls(certificate=certificate)
        keys, rate = KeyRing(settings.state_dir), None
        if settings.requests_per_s is not None:
            rate = RateLimiter(settings.requests_per_s, burst=settings.burst)
        pairing = _pairing(keys, settings.public_url or _reachable(url), certificate)
        return cls(keys, pairing, rate, AuditLog(settings.state_dir), certificate)

    def pem(self) -> tuple[bytes, bytes] | None:
        """Private key and certificate chain, as gRPC wants them; None without TLS."""
        if self.certificate is None:
            return None
        return self.certificate.key.read_bytes(), self.certificate.chain.read_bytes()

    def close(self) -> None:
        """Write what waits to the audit log."""
        if self.audit is not None:
            self.audit.close()


def _pairing(keys: KeyRing, url: str, certificate: Certificate | None) -> Pairing | None:
    """None where no phone could be paired safely: plain HTTP for others than this machine."""
    pin = certificate.fingerprint if certificate is not None and certificate.pinned else None
    try:
        return Pairing(keys, url=url, pin=pin)
    except UsageFault:
        return None


def _reachable(url: str) -> str:
    """The address for phones: the machine's own where the server listens on all of them."""
    for every in ("//0.0.0.0:", "//[::]:"):
        if every in url:
            found = machine_names()[0]
            return url.replace(every, f"//[{found}]:" if ":" in found else f"//{found}:")
    return url

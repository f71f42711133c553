"""Where a server may listen, and which requests a server without keys takes. Pure functions.

Without keys everybody who reaches the port may do everything, so it must be this machine alone, and
of this machine programs only: a web page open in a browser reaches loopback too, by a cross-site
request or by a name of its own that it points to 127.0.0.1 ("DNS rebinding"; the remedy, a look at
Host, is that of https://developer.mozilla.org/en-US/docs/Web/Security/Attacks and the former of
RFC 9110 §7.2, https://www.rfc-editor.org/rfc/rfc9110#section-7.2).
"""

from __future__ import annotations

import ipaddress
import urllib.parse
from collections.abc import Iterable

from companion_server.security.refusals import Forbidden
from headtail.errors import UsageFault

__all__ = ["check_binding", "check_from_this_machine", "check_peer", "is_loopback"]


def is_loopback(host: str) -> bool:
    """Whether `host`, an address or a name, can only be this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check_binding(host: str, *, keys: bool, tls: bool) -> str | None:
    """`UsageFault` if a server must not listen on `host`; else a warning to print, or None.

    Wider than loopback needs keys. Without TLS there it may run, since a proxy or a tunnel can be
    what encrypts, and says so.
    """
    if is_loopback(host):
        return None
    if not keys:
        raise UsageFault(
            f"Without keys the server must not listen on {host or 'every address'}.",
            expected="Everybody who reaches a server without keys may do everything there.",
            remedy="Let it have keys (the default), or listen on 127.0.0.1.",
        )
    if not tls:
        return (
            f"Keys and tensors cross the network to {host or 'every address'} in the clear: "
            "use TLS here, or a proxy that has it."
        )
    return None


def check_peer(host: str) -> None:
    """`Forbidden` for a peer at another machine's address.

    The last of two locks: `check_binding` keeps such a server from listening for others at all.
    """
    try:
        here = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        here = True  # a Unix socket, or a call within a process
    if not here:
        raise Forbidden(
            f"The request comes from {host}.",
            expected="A server without keys answers programs on this machine only.",
            remedy="Start it with keys (the default).",
        )


def check_from_this_machine(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """`Forbidden` for what a browser sends on behalf of a page from elsewhere.

    Names without a dot are this network's own, addresses cannot be rebound, and nothing but a
    browser sends `Origin`.
    """
    host, origin, site = b"", b"", b""
    for name, value in headers:
        if name == b"host":
            host = value
        elif name == b"origin":
            origin = value
        elif name == b"sec-fetch-site":
            site = value
    same_site = site in (b"", b"none", b"same-origin")
    if not _own(host) or not same_site or (origin and not _same(origin, host)):
        raise Forbidden(
            f"The request is for {_shown(host)} and comes from {_shown(origin) or 'a web page'}.",
            expected="A server without keys answers programs on this machine only.",
            remedy="Use its address, http://127.0.0.1:PORT, or start it with keys.",
        )


def _own(host: bytes) -> bool:
    text = host.decode("latin-1")
    name = text[: text.rfind("]") + 1] if text.startswith("[") else text.partition(":")[0]
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return "." not in name or name.lower().endswith(".localhost")
    return True


def _same(origin: bytes, host: bytes) -> bool:
    try:
        return urllib.parse.urlsplit(origin).netloc == host
    except ValueError:
        return False


def _shown(value: bytes) -> str:
    return value.decode("latin-1")[:100]

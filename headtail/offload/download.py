"""A bundle from a companion server: resumed by range, checked by hash, published whole.

The zip is collected beside the destination as `.NAME.bundle.<hash>.part`, whose name says which
bytes it is to hold, so an interrupted download goes on where it stopped (RFC 9110 §14,
https://www.rfc-editor.org/rfc/rfc9110#section-14) and can never be joined to other bytes.
"""

from __future__ import annotations

import re
import tempfile
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headtail.bundle import Bundle, unpack_zip
from headtail.bundle.reading import integrity, sha256_of
from headtail.bundle.staging import check_destination
from headtail.bundle.transport import MAX_BUNDLE_BYTES
from headtail.errors import IntegrityFault, TooLarge, UnknownName, WireFault
from headtail.offload.link import Link, Reply, Request
from headtail.offload.refusals import refusal
from headtail.offload.sockets import Deadline

__all__ = ["download_bundle"]

_SHA256 = re.compile(r"[0-9a-f]{64}")
_OK, _PARTIAL = 200, 206
MAX_PROBLEM_BYTES = 64 << 10


def download_bundle(
    link: Link,
    listing: Sequence[Mapping[str, Any]],
    bundle_id: str,
    destination: Path,
    *,
    stall_s: float,
) -> Bundle:
    """Fetch `bundle_id`, which `listing` (of `/v2/bundles`) must name; see `Companion.download`.

    `stall_s` is how long the transfer may stand still before it is given up.
    """
    check_destination(destination, force=False)
    offers = {item["bundle_id"]: item for item in listing}
    if bundle_id not in offers:
        raise UnknownName("bundle", bundle_id, offers)
    digest, size = offers[bundle_id]["sha256"], offers[bundle_id]["bytes"]
    _check_offer(digest, size)
    parent = destination.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    part = parent / f".{destination.name}.{digest}.part"
    while (held := part.stat().st_size if part.exists() else 0) < size:
        _fetch(link, bundle_id, part, (held, size, digest), Deadline(stall_s))
    _check_bytes(part, digest, size)
    bundle = _publish(part, bundle_id, destination)
    part.unlink()
    return bundle


def _check_offer(digest: str, size: int) -> None:
    if not _SHA256.fullmatch(digest) or size <= 0:
        raise WireFault(
            f"The server offers {size} bytes with SHA-256 {digest[:80]!r}.",
            expected="A size above 0 and 64 hexadecimal digits.",
            remedy="Use one version of Headtail at both ends.",
        )
    if size > MAX_BUNDLE_BYTES:
        raise TooLarge(
            f"The server offers {size} bytes.",
            expected=f"A bundle has at most {MAX_BUNDLE_BYTES}.",
            remedy="Check that the address is a companion server's.",
        )


def _fetch(
    link: Link, bundle_id: str, part: Path, want: tuple[int, int, str], deadline: Deadline
) -> None:
    held, size, digest = want
    headers = {}
    if held:
        headers = {"Range": f"bytes={held}-", "If-Range": f'"{digest}"'}
    path = f"/v2/bundles/{urllib.parse.quote(bundle_id, safe='')}"
    with link.exchange(Request("GET", path, headers), deadline) as reply:
        if reply.status not in (_OK, _PARTIAL):
            raise refusal(reply.status, reply.headers, reply.read(limit=MAX_PROBLEM_BYTES))
        _check_reply(reply, want)
        with part.open("ab" if reply.status == _PARTIAL else "wb") as out:
            for chunk in reply.chunks():
                deadline.renew()
                out.write(chunk)
                if out.tell() > size:
                    raise _other_bytes(f"more than the {size} bytes it listed")
            if out.tell() < size:
                raise _other_bytes(f"{out.tell()} of the {size} bytes it listed")


def _check_reply(reply: Reply, want: tuple[int, int, str]) -> None:
    held, size, digest = want
    tag = reply.headers.get("etag")
    if tag != f'"{digest}"':
        raise _other_bytes(f"a zip with ETag {tag!r} where it listed {digest[:16]}...")
    placed = reply.headers.get("content-range")
    if reply.status == _PARTIAL and placed != f"bytes {held}-{size - 1}/{size}":
        raise _other_bytes(f"the range {placed!r} where {held}- of {size} was asked for")


def _other_bytes(what: str) -> WireFault:
    return WireFault(
        f"The companion server sent {what}.",
        expected="A bundle is sent as it was listed.",
        remedy="Download it again.",
    )


def _check_bytes(part: Path, digest: str, size: int) -> None:
    with part.open("rb") as file:
        found = sha256_of(file)
    if found != digest or part.stat().st_size != size:
        part.unlink()  # bytes that are wrong cannot be continued
        raise integrity(
            part.name, f"has SHA-256 {found[:16]}...", f"The server promised {digest[:16]}..."
        )


def _publish(part: Path, bundle_id: str, destination: Path) -> Bundle:
    # unpacked beside the destination first: whose bundle it is, is known only from its manifest
    with tempfile.TemporaryDirectory(prefix=f".{destination.name}.", dir=part.parent) as folder:
        try:
            bundle = unpack_zip(part, Path(folder) / destination.name)
            if bundle.manifest.bundle_id != bundle_id:
                raise integrity(
                    part.name,
                    f"holds bundle {bundle.manifest.bundle_id[:16]}...",
                    f"{bundle_id[:16]}... was asked for.",
                )
        except IntegrityFault:
            part.unlink()
            raise
        check_destination(destination, force=False)
        bundle.path.rename(destination)
    return Bundle(destination, bundle.manifest)

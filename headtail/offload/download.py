"""A bundle from a companion server: resumed by range, checked by hash, published whole.

The zip is collected beside the destination as `.NAME.bundle.<hash>.part`, whose name says which
bytes it is to hold, so an interrupted download goes on where it stopped (RFC 9110 §14,
https://www.rfc-editor.org/rfc/rfc9110#section-14) and can never be joined to other bytes. Whoever
writes it holds a lock on it, so that two processes do not both append.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from headtail.bundle import Bundle, unpack_zip
from headtail.bundle.reading import integrity, sha256_of
from headtail.bundle.staging import check_destination
from headtail.bundle.transport import MAX_BUNDLE_BYTES
from headtail.errors import (
    HeadtailError,
    IntegrityFault,
    ServerUnreachable,
    TooLarge,
    UnknownName,
    WireFault,
)
from headtail.offload.link import Link, Reply, Request
from headtail.offload.partfile import full_disk_told, open_part, part_path
from headtail.offload.refusals import refusal
from headtail.offload.sockets import Deadline

__all__ = ["DownloadStopped", "Transfer", "download_bundle"]

_SHA256 = re.compile(r"[0-9a-f]{64}")
_OK, _PARTIAL = 200, 206
MAX_PROBLEM_BYTES = 64 << 10
PIECE = 16 << 10  # bytes; a link that brings no such piece before the stall limit stands still


class DownloadStopped(HeadtailError):
    """Somebody called `Transfer.stop`; what had come is kept."""


class Transfer:
    """One download as other threads see it. `told(held, size)`, in bytes, is called on the thread
    that downloads: with what was there before, then after each piece. It should be quick.
    """

    def __init__(self, told: Callable[[int, int], None] | None = None) -> None:
        self._told = told
        self._stop = threading.Event()
        self._abort: Callable[[], None] | None = None

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def stop(self) -> None:
        """End the download from any thread, before it began or while it waits for the server; it
        raises `DownloadStopped`. One whose bytes are all here is finished instead."""
        self._stop.set()
        if self._abort is not None:
            self._abort()

    def begin(self, abort: Callable[[], None]) -> None:
        """`abort` ends a wait for the server."""
        self._abort = abort

    def tell(self, held: int, size: int) -> None:
        """So much is here; raises `DownloadStopped` if that shall be all."""
        if self._told is not None:
            self._told(held, size)
        if self.stopped and held < size:
            raise DownloadStopped(
                f"The download was stopped at {held} of {size} bytes.",
                expected="What has come is kept.",
                remedy="Download the bundle again to go on from there.",
            )


@dataclass(frozen=True)
class _Wanted:
    """What the server listed."""

    bundle_id: str
    digest: str
    size: int


def download_bundle(
    link: Link,
    listing: Sequence[Mapping[str, Any]],
    bundle_id: str,
    destination: Path,
    *,
    stall_s: float,
    transfer: Transfer | None = None,
) -> Bundle:
    """Fetch `bundle_id`, which `listing` (of `/v2/bundles`) must name; see `Companion.download`.

    `stall_s` is how long the transfer may stand still before it is given up.
    """
    check_destination(destination, force=False)
    offers = {item["bundle_id"]: item for item in listing}
    if bundle_id not in offers:
        raise UnknownName("bundle", bundle_id, offers)
    wanted = _Wanted(bundle_id, offers[bundle_id]["sha256"], offers[bundle_id]["bytes"])
    _check_offer(wanted)
    destination.absolute().parent.mkdir(parents=True, exist_ok=True)
    part = part_path(destination, wanted.digest)
    transfer = transfer or Transfer()
    try:
        with full_disk_told(part), open_part(part) as file:
            _complete(link, wanted, file, stall_s, transfer)
            _check_bytes(part, wanted)
            bundle = _publish(part, bundle_id, destination)
    except IntegrityFault:
        part.unlink(missing_ok=True)  # bytes that are wrong cannot be continued
        raise
    part.unlink()
    return bundle


def _check_offer(wanted: _Wanted) -> None:
    if not _SHA256.fullmatch(wanted.digest) or wanted.size <= 0:
        raise WireFault(
            f"The server offers {wanted.size} bytes with SHA-256 {wanted.digest[:80]!r}.",
            expected="A size above 0 and 64 hexadecimal digits.",
            remedy="Use one version of Headtail at both ends.",
        )
    if wanted.size > MAX_BUNDLE_BYTES:
        raise TooLarge(
            f"The server offers {wanted.size} bytes.",
            expected=f"A bundle has at most {MAX_BUNDLE_BYTES}.",
            remedy="Check that the address is a companion server's.",
        )


def _complete(
    link: Link, wanted: _Wanted, file: BinaryIO, stall_s: float, transfer: Transfer
) -> None:
    """Fetch what is missing of the part."""
    aborts = link.aborts  # before it is looked whether to stop: who stops later aborts
    transfer.begin(link.abort)
    held = file.seek(0, 2)
    transfer.tell(held, wanted.size)
    if held >= wanted.size:
        return
    try:
        with _asked(link, wanted, held, Deadline(stall_s), aborts) as reply:
            _receive(reply, wanted, file, transfer)
    except ServerUnreachable:
        if transfer.stopped:  # which is why the connection was dropped
            transfer.tell(file.seek(0, 2), wanted.size)
        raise
    file.flush()  # or the end of it is not there yet for who reads the part


@contextlib.contextmanager
def _asked(
    link: Link, wanted: _Wanted, held: int, deadline: Deadline, aborts: int
) -> Iterator[Reply]:
    """The reply to the question for what is missing after `held` bytes."""
    headers = {}
    if held:
        headers = {"Range": f"bytes={held}-", "If-Range": f'"{wanted.digest}"'}
    path = f"/v2/bundles/{urllib.parse.quote(wanted.bundle_id, safe='')}"
    request = Request("GET", path, headers)
    with link.exchange(request, deadline, aborts=aborts) as reply:
        if reply.status not in (_OK, _PARTIAL):
            raise refusal(reply.status, reply.headers, reply.read(limit=MAX_PROBLEM_BYTES))
        _check_reply(reply, wanted, held)
        yield reply


def _receive(reply: Reply, wanted: _Wanted, file: BinaryIO, transfer: Transfer) -> None:
    held = file.truncate(0) if reply.status == _OK else file.seek(0, 2)
    for chunk in reply.chunks(PIECE, limit=wanted.size):
        reply.renew()
        held += len(chunk)
        if held > wanted.size:
            raise _other_bytes(f"more than the {wanted.size} bytes it listed")
        file.write(chunk)
        transfer.tell(held, wanted.size)
    if held < wanted.size:
        raise _other_bytes(f"{held} of the {wanted.size} bytes it listed")


def _check_reply(reply: Reply, wanted: _Wanted, held: int) -> None:
    size = wanted.size
    tag = reply.headers.get("etag")
    if tag != f'"{wanted.digest}"':
        raise _other_bytes(f"a zip with ETag {tag!r} where it listed {wanted.digest[:16]}...")
    placed = reply.headers.get("content-range")
    if reply.status == _PARTIAL and placed != f"bytes {held}-{size - 1}/{size}":
        raise _other_bytes(f"the range {placed!r} where {held}- of {size} was asked for")


def _other_bytes(what: str) -> WireFault:
    return WireFault(
        f"The companion server sent {what}.",
        expected="A bundle is sent as it was listed.",
        remedy="Download it again.",
    )


def _check_bytes(part: Path, wanted: _Wanted) -> None:
    with part.open("rb") as file:
        found = sha256_of(file)
    if found != wanted.digest or part.stat().st_size != wanted.size:
        raise integrity(
            part.name,
            f"has SHA-256 {found[:16]}...",
            f"The server promised {wanted.digest[:16]}...",
        )


def _publish(part: Path, bundle_id: str, destination: Path) -> Bundle:
    # unpacked beside the destination first: whose bundle it is, is known only from its manifest
    with tempfile.TemporaryDirectory(prefix=f".{destination.name}.", dir=part.parent) as folder:
        bundle = unpack_zip(part, Path(folder) / destination.name)
        if bundle.manifest.bundle_id != bundle_id:
            raise integrity(
                part.name,
                f"holds bundle {bundle.manifest.bundle_id[:16]}...",
                f"{bundle_id[:16]}... was asked for.",
            )
        check_destination(destination, force=False)
        bundle.path.rename(destination)
    return Bundle(destination, bundle.manifest)

"""A bundle to a companion server: in pieces that are resumed, until it is served or refused.

Each piece is a request of its own (a partial PUT, RFC 9110 section 14.5,
https://www.rfc-editor.org/rfc/rfc9110#section-14.5), so a lost connection costs one piece at most;
where to go on is what the server says it received. Standard library only.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headtail.bundle import Bundle, open_bundle, pack_zip
from headtail.errors import GateFailed, SchemaFault, ServerUnreachable, WireFault
from headtail.offload.link import Link, Reply, Request
from headtail.offload.pinning import CertificateChanged
from headtail.offload.refusals import NotHeld, ServerNotReady, Shed, refusal
from headtail.offload.sockets import Deadline
from headtail.strictjson import canonical_bytes, parse

__all__ = ["BundleRefused", "Patience", "Published", "Publisher"]

PIECE_BYTES = 4 << 20
MAX_REPLY_BYTES = 1 << 20
FIRST_LOOK_S = 0.05  # after an upload; later looks are further and further apart
_CONFLICT = 409
Progress = Callable[[int, int], None]  # bytes the server has, bytes in all


class BundleRefused(GateFailed):
    """The server checked the bundle and does not serve it; the text has the server's reason."""


@dataclass(frozen=True)
class Patience:
    """Seconds: `request_s` for one request, `lost_s` without any progress before giving up a
    server that was there, `checks_s` for its checks, `pause_s` between two attempts."""

    request_s: float = 60.0
    lost_s: float = 120.0
    checks_s: float = 900.0
    pause_s: float = 1.0


@dataclass(frozen=True)
class Published:
    """What came of it: `sent` bytes of the zip's `size` crossed the wire in this call."""

    bundle_id: str
    model: str
    size: int
    sent: int
    aliases: tuple[str, ...]


class Publisher:
    """Publishes through `link`, which is the caller's to close, `piece_bytes` at a time."""

    def __init__(
        self, link: Link, *, patience: Patience | None = None, piece_bytes: int = PIECE_BYTES
    ) -> None:
        self._link = link
        self._piece_bytes = piece_bytes
        self._patience = patience or Patience()
        self._reached = False

    def publish(
        self, path: Path, *, aliases: Sequence[str] = (), progress: Progress | None = None
    ) -> Published:
        """Upload the bundle at `path` (folder or .zip), wait until it is served, set `aliases`.

        What a former call left half sent is continued; a bundle that is served already is not sent
        again. Raises what `open_bundle` raises, `ServerUnreachable` when the server stays away,
        `BundleRefused`, and the errors of `headtail.offload.refusals`.
        """
        with _archive(path) as (bundle, archive):
            manifest, size = bundle.manifest, archive.stat().st_size
            sent = self._upload(archive, manifest.bundle_id, progress or (lambda _done, _all: None))
        for alias in aliases:
            self.set_alias(manifest.name, alias, manifest.bundle_id)
        return Published(manifest.bundle_id, manifest.name, size, sent, tuple(aliases))

    def set_alias(self, model: str, alias: str, bundle_id: str) -> None:
        """Point `alias` of `model` to a bundle that is served."""
        name, alias = (urllib.parse.quote(part, safe="") for part in (model, alias))
        self._persist(
            Request(
                "PUT",
                f"/v2/models/{name}/aliases/{alias}",
                {"Content-Type": "application/json"},
                canonical_bytes({"bundle_id": bundle_id}),
            )
        )

    def status(self, bundle_id: str) -> dict[str, Any]:
        """What the server says of a bundle; `{"state": "unknown"}` if it knows nothing."""
        try:
            return self._persist(Request("GET", f"{_path(bundle_id)}/status"))
        except NotHeld:
            return {"state": "unknown"}

    def _upload(self, archive: Path, bundle_id: str, progress: Progress) -> int:
        """Bytes sent."""
        size, sent, furthest = archive.stat().st_size, 0, 0
        stalled = Deadline(self._patience.lost_s)
        told = self.status(bundle_id)
        if told["state"] in ("refused", "withdrawn"):  # then: this is another attempt
            told = {"state": "unknown"}
        while told["state"] in ("unknown", "incoming"):
            start = _received(told, size)
            if start > furthest:
                stalled.renew()
                furthest = start
            _check_stalled(stalled, bundle_id, furthest, size)
            progress(start, size)
            with archive.open("rb") as file:
                file.seek(start)
                piece = file.read(self._piece_bytes)
            told = self._put(bundle_id, piece, start, size)
            sent += len(piece)
        progress(size, size)
        self._settle(bundle_id, told)
        return sent

    def _put(self, bundle_id: str, piece: bytes, start: int, size: int) -> dict[str, Any]:
        """The bundle's status after a piece; after a lost connection, what it is then."""
        headers = {
            "Content-Type": "application/zip",
            "Content-Range": f"bytes {start}-{start + len(piece) - 1}/{size}",
        }
        try:
            return self._ask(Request("PUT", _path(bundle_id), headers, piece))
        except CertificateChanged:
            raise
        except (ServerUnreachable, ServerNotReady, Shed, _Busy):
            self._pause()
            return self.status(bundle_id)

    def _settle(self, bundle_id: str, told: dict[str, Any]) -> None:
        deadline, pause_s = Deadline(self._patience.checks_s), FIRST_LOOK_S
        while told["state"] in ("checking", "loading"):
            if _passed(deadline):
                raise _late(bundle_id, told["state"], deadline.seconds)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, self._patience.pause_s)
            told = self.status(bundle_id)
        if told["state"] != "live":
            raise BundleRefused(
                f"The server does not serve bundle {bundle_id}: "
                f"{told.get('error', told['state'] + '.')}",
                expected="A bundle is served when its hashes, its signature and its tail are good.",
                remedy="Export the bundle again, or change what the server asks for.",
            )

    def _persist(self, request: Request) -> dict[str, Any]:
        """The answer to a request that may be made again, however often the connection is lost.

        A server that was never there is an error at once: the address may be wrong.
        """
        deadline = Deadline(self._patience.lost_s)
        while True:
            try:
                return self._ask(request)
            except CertificateChanged:
                raise
            except (ServerUnreachable, ServerNotReady, Shed):
                if _passed(deadline) or not self._reached:
                    raise
                self._pause()

    def _ask(self, request: Request) -> dict[str, Any]:
        with self._link.exchange(request, Deadline(self._patience.request_s)) as reply:
            data = reply.read(limit=MAX_REPLY_BYTES)
        self._reached = True
        if reply.status == _CONFLICT and request.method == "PUT":
            return _conflict(reply, data)
        if not 200 <= reply.status < 300:  # RFC 9110 section 15.3: success
            raise refusal(reply.status, reply.headers, data)
        return _object(data)

    def _pause(self) -> None:
        time.sleep(self._patience.pause_s)


class _Busy(Exception):
    """Another request writes to the same upload at this moment."""


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[tuple[Bundle, Path]]:
    """The checked bundle, and its zip."""
    bundle = open_bundle(path)
    if path.is_file():
        yield bundle, path
        return
    with tempfile.TemporaryDirectory(prefix="headtail-publish-") as folder:
        archive = Path(folder) / "bundle.zip"
        pack_zip(bundle, archive)
        yield bundle, archive


def _received(told: dict[str, Any], size: int) -> int:
    """Where to go on; from 0 if what the server has is of another zip, or whole and unchecked."""
    received, total = told.get("received"), told.get("bytes", size)
    if told["state"] != "incoming" or not isinstance(received, int) or total != size:
        return 0
    return received if 0 <= received < size else 0


def _conflict(reply: Reply, data: bytes) -> dict[str, Any]:
    """A 409 to a piece: where the server is, or `_Busy`; to anything else the error."""
    told = _object(data)
    if isinstance(told.get("received"), int):
        return {"state": "incoming", "received": told["received"]}
    if told.get("busy") is True:
        raise _Busy
    raise refusal(reply.status, reply.headers, data)


def _object(data: bytes) -> dict[str, Any]:
    try:
        told = parse(data) if data else {}
    except SchemaFault as error:
        raise _malformed(error.what) from None
    if not isinstance(told, dict) or not isinstance(told.get("state", ""), str):
        raise _malformed("It is no status.")
    return told


def _passed(deadline: Deadline) -> bool:
    try:
        deadline.left()
    except TimeoutError:
        return True
    return False


def _check_stalled(stalled: Deadline, bundle_id: str, received: int, size: int) -> None:
    if _passed(stalled):
        raise ServerUnreachable(
            f"Bundle {bundle_id} stands at {received} of {size} bytes since {stalled.seconds:g} s.",
            expected="Every piece that is sent arrives.",
            remedy="Check what lies between here and the server, such as a proxy's body limit.",
        )


def _path(bundle_id: str) -> str:
    return f"/v2/bundles/{urllib.parse.quote(bundle_id, safe='')}"


def _malformed(reason: str) -> WireFault:
    return WireFault(
        f"The companion server's reply is malformed. {reason}",
        expected="A reply as this version of Headtail's server gives it.",
        remedy="Use one version of Headtail at both ends.",
    )


def _late(bundle_id: str, state: str, seconds: float) -> ServerUnreachable:
    return ServerUnreachable(
        f"The companion server is still {state} bundle {bundle_id} after {seconds:.0f} s.",
        expected="Checking and loading a bundle takes seconds.",
        remedy="Ask for its status later; publishing again sends nothing twice.",
    )

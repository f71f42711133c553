"""Uploads under way: `incoming/<bundle_id>.<bytes>[.<owner>].part`, each a zip in pieces.

The standard thing, a partial PUT: https://www.rfc-editor.org/rfc/rfc9110#section-14.5. A piece says
by `Content-Range` where it belongs; a lost connection costs what was not written yet, a killed
server nothing. Pieces of two different zips of one bundle make one that is refused by its hashes.
An upload belongs to the key that began it, so two keys may upload the same bundle side by side and
nobody goes on with, holds up or drops what another began.
"""

from __future__ import annotations

import re
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from companion_server.store.faults import StorageFull, StoreConflict, full_disk_refused
from companion_server.store.folder import PART, StoreFolder, is_bundle_id
from headtail.bundle.transport import MAX_BUNDLE_BYTES
from headtail.errors import TooLarge, UsageFault, WireFault

__all__ = ["Part", "Piece", "UploadBusy", "UploadGap", "Uploads"]

MAX_PARTS = 8  # uploads under way of one owner; the one that stood still longest gives way
KEEP_S = 24 * 3600  # seconds that an interrupted upload may wait to be continued
_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})", re.ASCII)


class UploadBusy(StoreConflict):
    """Another request writes to the same upload at this moment."""

    def __init__(self, bundle_id: str) -> None:
        super().__init__(
            f"Bundle {bundle_id} is being uploaded by another request.",
            expected="One request at a time writes to an upload.",
            remedy="Try again in a second.",
        )


class UploadGap(StoreConflict):
    """A piece that does not join what was received; `received` bytes are here."""

    def __init__(self, piece: Piece, received: int) -> None:
        super().__init__(
            f"The piece begins at byte {piece.start}, and {received} bytes were received.",
            expected="A piece begins where the last one ended, or earlier.",
            remedy=f"Go on from byte {received}.",
        )
        self.received = received


@dataclass(frozen=True)
class Piece:
    """Bytes `start` to `stop` of a bundle's zip of `total` bytes; `owner` is the key's id."""

    bundle_id: str
    start: int
    stop: int
    total: int
    owner: str = ""

    @classmethod
    def parse(cls, bundle_id: str, content_range: str, length: int, *, owner: str = "") -> Piece:
        """From a request's headers; no `Content-Range` means the whole zip.

        Raises `UsageFault` for an id that is none, `WireFault` for headers that contradict each
        other, `TooLarge`.
        """
        if not is_bundle_id(bundle_id):
            raise UsageFault(
                f"{bundle_id[:80]!r} is not a bundle's id.",
                expected="64 lower-case hexadecimal digits, as the manifest has them.",
                remedy="Publish with `headtail publish`, which reads the id from the bundle.",
            )
        match = _RANGE.fullmatch(content_range)
        if content_range and match is None:
            raise _malformed(f"Content-Range is {content_range[:80]!r}.")
        first, last, total = map(int, match.groups()) if match else (0, length - 1, length)
        if not first <= last < total or last + 1 - first != length:
            raise _malformed(f"Content-Range is {content_range!r}, with {length} bytes.")
        if total > MAX_BUNDLE_BYTES:
            raise TooLarge(
                f"The zip has {total} bytes.",
                expected=f"At most {MAX_BUNDLE_BYTES} bytes.",
                remedy="Split the model, or leave a format out.",
            )
        return cls(bundle_id, first, last + 1, total, owner)


class Part:
    """One piece being written; `with` it, `write` what comes. `path` is the zip collected so far.

    Leaving the block keeps what was written, for the next piece; what could not be written for want
    of room is removed as a whole, to give the room back. A whole zip stays claimed until
    `Uploads.release`, so that nobody writes to it while it is checked.
    """

    def __init__(self, uploads: Uploads, piece: Piece, path: Path) -> None:
        self.piece = piece
        self.path = path
        self._uploads = uploads
        self._left = piece.stop - piece.start
        # unbuffered: what a full disk refused must not be tried again when the file is closed
        self._file = path.open("r+b" if path.exists() else "w+b", buffering=0)
        self._file.truncate(piece.start)
        self._file.seek(piece.start)

    def __enter__(self) -> Part:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        if isinstance(error, StorageFull):
            self.path.unlink(missing_ok=True)
        if not self.complete:
            self._uploads.release(self.piece)

    @property
    def complete(self) -> bool:
        """Whether the zip is whole now."""
        return self._left == 0 and self.piece.stop == self.piece.total

    def write(self, data: bytes) -> None:
        """Append; raises `WireFault` for more than the piece has, and `StorageFull`. Blocks."""
        if len(data) > self._left:
            raise _malformed(f"The body is longer than the {self.piece.stop - self.piece.start}.")
        left = memoryview(data)
        with full_disk_refused(self.path.parent):
            while left:
                left = left[self._file.write(left) :]
        self._left -= len(data)


class Uploads:
    """The uploads into one folder. One request at a time writes to an upload."""

    def __init__(self, folder: StoreFolder, quota_bytes: int | None = None) -> None:
        self._folder = folder
        self._quota_bytes = quota_bytes
        self._claimed: set[tuple[str, str]] = set()
        self._turn = threading.Lock()

    def received(self, bundle_id: str, owner: str = "") -> tuple[int, int] | None:
        """`(bytes received, bytes in all)` of an owner's upload, None if there is none."""
        try:
            for path in self._find(bundle_id, owner):
                return path.stat().st_size, _told(path)[1]
        except FileNotFoundError:  # finished in this instant
            pass
        return None

    def claimed(self, bundle_id: str, owner: str = "") -> bool:
        """Whether an owner's upload is written to or checked at this moment."""
        return (bundle_id, owner) in self._claimed

    def open(self, piece: Piece) -> Part:
        """Begin to write a piece. Blocks.

        Raises `UploadBusy`, `UploadGap`, and `StorageFull` if the zip cannot fit, before a byte of
        it is read.
        """
        self._folder.prepare()
        with self._turn:  # two requests come on two threads
            self._check_idle(piece.bundle_id, piece.owner)
            self._claimed.add((piece.bundle_id, piece.owner))
        try:
            return Part(self, piece, self._place(piece))
        except BaseException:
            self.release(piece)
            raise

    def release(self, piece: Piece) -> None:
        """Let the next request write."""
        self._claimed.discard((piece.bundle_id, piece.owner))

    def drop(self, bundle_id: str, owner: str | None = "") -> bool:
        """Forget an owner's upload, or everybody's; whether there was one. Raises `UploadBusy`."""
        found = self._find(bundle_id, owner)
        with self._turn:
            for path in found:
                self._check_idle(bundle_id, _told(path)[2])
            for path in found:
                path.unlink(missing_ok=True)
        return bool(found)

    def _check_idle(self, bundle_id: str, owner: str) -> None:
        if self.claimed(bundle_id, owner):
            raise UploadBusy(bundle_id)

    def _place(self, piece: Piece) -> Path:
        owner = f".{piece.owner}" if piece.owner else ""
        path = self._folder.incoming / f"{piece.bundle_id}.{piece.total}{owner}{PART}"
        for old in self._find(piece.bundle_id, piece.owner):
            if old != path:
                old.unlink()  # another zip of the same bundle
        received = path.stat().st_size if path.exists() else 0
        if piece.start > received:
            raise UploadGap(piece, received)
        self._make_room(path, piece.owner)
        self._check_room(piece, received)
        return path

    def _check_room(self, piece: Piece, received: int) -> None:
        # the zip and its unpacked files; the zip is gone when its packed copy is made
        needed = 2 * piece.total - received
        free = shutil.disk_usage(self._folder.incoming).free
        held = self._folder.size()
        if needed > free or (self._quota_bytes is not None and held + needed > self._quota_bytes):
            quota = "no quota" if self._quota_bytes is None else f"a quota of {self._quota_bytes}"
            raise StorageFull(
                f"The bundle needs {needed} bytes. The disk has {free} left, the store {held} "
                f"bytes and {quota}.",
                expected="An upload begins only if it can be finished.",
                remedy="Remove versions that no phone uses, or raise the store's quota.",
            )

    def _make_room(self, path: Path, owner: str) -> None:
        """Drop what has waited too long, and the owner's that stood still longest."""
        others = sorted(
            (found.stat().st_mtime, found)
            for found in self._parts("*")
            if found != path and not self.claimed(*_told(found)[::2])
        )
        oldest = time.time() - KEEP_S
        own = [found for _, found in others if _told(found)[2] == owner]
        surplus = own[: max(0, len(own) - (MAX_PARTS - 1))]
        for written, found in others:
            if found in surplus or written < oldest:
                found.unlink(missing_ok=True)

    def _find(self, bundle_id: str, owner: str | None) -> list[Path]:
        if not is_bundle_id(bundle_id) or not self._folder.incoming.is_dir():
            return []
        return [path for path in self._parts(bundle_id) if owner in (None, _told(path)[2])]

    def _parts(self, bundle_id: str) -> list[Path]:
        found = self._folder.incoming.glob(f"{bundle_id}.*{PART}")
        return [path for path in found if path.name.split(".")[1].isdigit()]


def _told(path: Path) -> tuple[str, int, str]:
    """Bundle id, bytes in all and owner, from the name."""
    bundle_id, total, *owner = path.name.removesuffix(PART).split(".")
    return bundle_id, int(total), owner[0] if owner else ""


def _malformed(what: str) -> WireFault:
    return WireFault(
        what,
        expected="`Content-Range: bytes FIRST-LAST/TOTAL` fits the body, or is left out for all.",
        remedy="Send the pieces in order, each with its own length.",
    )

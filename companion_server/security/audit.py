r"""An append-only log of who did what: one JSON object a line, never a payload, never a secret.

    {"time": "2026-11-21T20:30:00.123Z", "verb": "publish", "route": "POST /v2/bundles",
     "status": 201, "key": "4f1c...", "name": "ci", "peer": "10.0.0.7:51234", "model": "toy",
     "bundle": "9ab0...", "in": 18800000, "out": 180, "ms": 812.4}

Publishing, deleting, what an admin changes, pairing and changes of keys are always there; of what
happens all the time (infer, read, metrics, whatever is a GET) every `sample`-th request is, with
`"sampled"` beside it; refusals are, up to `REFUSALS_PER_S`, since anybody could fill the disk with
them.

A line cannot be forged from inside a field: it is JSON in ASCII, in which a line break is `\n`.
`write` never waits for the disk: a thread writes, and what it cannot keep up with or the disk does
not take is counted in a line of the verb `lost`. At `max_bytes` the file becomes `audit.1.jsonl`,
and so on up to `keep`. The file is opened with `O_APPEND` and reopened if another process renamed
it.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import logging
import os
import queue
import stat
import threading
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from companion_server.security.private_files import (
    give_to_owner_of_folder,
    locked,
    private_folder,
)
from companion_server.security.rate import RateLimiter
from headtail.errors import EnvironmentFault

__all__ = ["FILE_NAME", "AuditLog", "Event", "annotate"]

log = logging.getLogger(__name__)
FILE_NAME = "audit.jsonl"
NOTES = "headtail.audit"  # the key in an ASGI scope
SAMPLED = ("infer", "read", "metrics")
REFUSED = "refused"
REFUSALS_PER_S = 10.0
MAX_WAITING = 10_000
MAX_BATCH = 512
MAX_TEXT = 200
_OPENED = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Event:
    """What happened; `key` and `name` are whose key it was, empty without one."""

    verb: str
    status: int
    route: str = ""
    key: str = ""
    name: str = ""
    peer: str = ""
    model: str = ""
    bundle: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    ms: float = 0.0
    sampled: bool = False


def annotate(scope: MutableMapping[str, Any], *, model: str, bundle: str) -> None:
    """For handlers that learn from the body what a request is about."""
    if NOTES in scope:
        scope[NOTES] = {"model": model, "bundle": bundle}


class AuditLog:
    """The log in `folder / "audit.jsonl"`. Close it, or its last lines may be missing.

    Raises `EnvironmentFault` if it cannot be opened.
    """

    def __init__(
        self,
        folder: Path,
        *,
        sample: int = 100,
        max_bytes: int = 16 << 20,
        keep: int = 5,
    ) -> None:
        self.path = private_folder(folder) / FILE_NAME
        self._sample = sample
        self._max_bytes = max_bytes
        self._keep = keep
        self._seen = 0
        self._refusals = RateLimiter(REFUSALS_PER_S, burst=int(REFUSALS_PER_S) * 10)
        self._dropped = 0  # by those who call `write`
        self._failed = 0  # by the thread, as is the next
        self._told = 0
        self._torn = False
        self._failing = False
        try:
            self._file = self._open()
        except OSError as error:
            raise EnvironmentFault(
                f"The audit log {self.path} cannot be opened: {error.strerror}.",
                expected="It is a plain file that the server may write, or is not there yet.",
                remedy="Move it away, or correct its owner and mode.",
            ) from None
        self._waiting: queue.Queue[tuple[datetime.datetime, Event] | None] = queue.Queue(
            MAX_WAITING
        )
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def wants(self, verb: str, *, changes: bool = True) -> bool:
        """Whether this request is to be logged; ask once per request.

        `changes`: what it asks for may change something (RFC 9110 §9.2.1: it is not safe).
        """
        if verb == REFUSED:
            wanted = self._refusals.take(REFUSED) == 0.0
            self._dropped += not wanted
            return wanted
        if changes and verb not in SAMPLED:
            return True
        self._seen += 1
        return self._seen % self._sample == 0

    def write(self, event: Event) -> None:
        """Log `event` soon; never waits."""
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait((datetime.datetime.now(datetime.UTC), event))
            return
        self._dropped += 1

    def flush(self) -> None:
        """Wait until everything written so far is in the file."""
        self._waiting.join()

    def close(self) -> None:
        """Write what waits, to the disk, and end the thread."""
        self._waiting.put(None)
        self._thread.join()
        with contextlib.suppress(OSError):
            os.fsync(self._file)
        os.close(self._file)

    def _run(self) -> None:
        while True:
            batch = [self._waiting.get(), *self._more()]
            events = [entry for entry in batch if entry is not None]
            try:
                self._append(events)
            except OSError as error:
                self._failed += len(events)
                if not self._failing:
                    log.error("The audit log cannot be written: %s.", error)
                self._failing = True
            else:
                self._failing = False
            for _ in batch:
                self._waiting.task_done()
            if None in batch:
                return

    def _more(self) -> Iterator[tuple[datetime.datetime, Event] | None]:
        with contextlib.suppress(queue.Empty):
            for _ in range(MAX_BATCH):
                yield self._waiting.get_nowait()

    def _append(self, events: list[tuple[datetime.datetime, Event]]) -> None:
        lines = [self._line(when, event) for when, event in events]
        lost = self._dropped + self._failed - self._told
        if lost:
            now = datetime.datetime.now(datetime.UTC)
            lines.append(_encode({"time": _stamp(now), "verb": "lost", "count": lost}))
        data = b"".join([b"\n" if self._torn else b"", *lines])
        self._make_room(len(data))
        written = os.write(self._file, data)
        self._torn = 0 < written < len(data)
        if written < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._told += lost

    def _line(self, when: datetime.datetime, event: Event) -> bytes:
        entry: dict[str, Any] = {
            "time": _stamp(when),
            "verb": event.verb,
            "route": event.route,
            "status": event.status,
            "key": event.key,
            "name": event.name[:MAX_TEXT],
            "peer": event.peer[:MAX_TEXT],
            "model": event.model[:MAX_TEXT],
            "bundle": event.bundle[:MAX_TEXT],
            "in": event.bytes_in,
            "out": event.bytes_out,
            "ms": round(event.ms, 1),
        }
        if event.sampled or event.verb in SAMPLED:
            entry["sampled"] = self._sample
        return _encode({name: value for name, value in entry.items() if value not in ("", 0)})

    def _make_room(self, size: int) -> None:
        held = os.fstat(self._file)
        if not self._is_ours(held):
            self._reopen()
        elif held.st_size and held.st_size + size > self._max_bytes:
            with locked(self.path.parent):
                if self._is_ours(held):
                    self._rotate()
            self._reopen()

    def _is_ours(self, held: os.stat_result) -> bool:
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)

    def _rotate(self) -> None:
        for number in range(self._keep - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                self._rotated(number).replace(self._rotated(number + 1))
        self.path.replace(self._rotated(1))

    def _rotated(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.stem}.{number}{self.path.suffix}")

    def _reopen(self) -> None:
        former, self._file = self._file, self._open()
        os.close(former)

    def _open(self) -> int:
        """The file, which whoever owns the folder may not have made a way to another one: root
        writes here too, when it changes keys. Raises `OSError`."""
        descriptor = os.open(self.path, _OPENED, 0o600)
        held = os.fstat(descriptor)
        if not stat.S_ISREG(held.st_mode) or held.st_nlink > 1:
            os.close(descriptor)
            raise OSError(errno.EMLINK, "It is no plain file with this name only")
        give_to_owner_of_folder(descriptor, self.path.parent)
        return descriptor


def _stamp(when: datetime.datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _encode(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode("ascii") + b"\n"

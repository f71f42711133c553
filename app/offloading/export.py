"""The trace of decisions as a file, and handed to another app because a person asked for it.

What names a server or this device's owner is taken out, as from a report. A share sheet takes less
than the file may hold: it gets the newest lines.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from app.benchmark.records import write_whole
from app.report.redaction import redacted_text
from app.report.sharing import MAX_TEXT, Sharing
from headtail.offload.trace import Trace

__all__ = ["Saved", "TraceExport"]


class Saved(NamedTuple):
    """Where the trace lies, and as much of it as can be shared."""

    path: Path
    newest: str


class TraceExport:
    """Files in `folder`; `secrets()` are texts that must not be in them."""

    def __init__(
        self, folder: Path, *, sharing: Sharing, secrets: Callable[[], Iterable[str]]
    ) -> None:
        self._folder = folder
        self._sharing = sharing
        self._secrets = secrets

    def save(self, trace: Trace) -> Saved:
        """Write all of it, whole or not at all; raises `OSError`, such as for a full disk."""
        text = redacted_text(trace.text(), self._secrets())
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / time.strftime("offload-%Y%m%dT%H%M%SZ.jsonl", time.gmtime())
        write_whole(path, text.encode())
        return Saved(path, _newest(text))

    def share(self, saved: Saved, copy: Callable[[str], None]) -> str:
        """Offer it to other apps; what to tell the person. On the UI thread."""
        copied = self._sharing.share(saved.newest, saved.path, copy)
        return f"Saved as {saved.path}{'; its path was copied' if copied else ''}."


def _newest(text: str) -> str:
    if len(text) <= MAX_TEXT:
        return text
    return text[text.index("\n", len(text) - MAX_TEXT) + 1 :]

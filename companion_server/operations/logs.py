"""What the server's processes say on standard error: one line each, as JSON or for people.

    {"time": "2026-11-21T20:15:03.120Z", "level": "warning", "logger": "companion_server.serving",
     "message": "...", "trace": "4bf92f...", "pid": 812, "exception": "..."}

Python's own logging, uvicorn's and other libraries' included, through one handler. A line cannot be
forged: control characters, line separators and those that turn writing around are escaped. What
looks like a key or token is blotted out, a text is cut at `MAX_MESSAGE`, and after `BURST` lines of
one kind in `PERIOD_S` the rest are counted instead of written: nobody can fill a disk by being
refused. Nothing here ever sees a body.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

from companion_server.operations.records import current_record
from headtail.errors import UnknownName

__all__ = ["STYLES", "configure", "escape", "redact"]

STYLES = ("auto", "json", "text")
MAX_MESSAGE = 4096  # characters
MAX_TRACEBACK = 16384
BURST, PERIOD_S = 5, 10.0
MAX_KINDS = 256

# C0, DEL, C1, line and paragraph separators, and the bidirectional controls of Unicode UAX #9
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
# a key of ours keeps its id, by which it is found in the audit log
_SECRET = re.compile(
    r"(?i)(\bht_[0-9a-z]+_|"
    r"\b(?:bearer\s+|basic\s+|(?:token|secret|password|api[-_]?key)[\"']?\s*[=:]\s*[\"']?)"
    r"(?!ht_))[^\s\"',;&]+"
)


def configure(style: str = "auto", *, level: str = "info", stream: TextIO | None = None) -> None:
    """Send this process's log to `stream` (standard error).

    `style` is one of `STYLES`; `auto` is text on a terminal and JSON elsewhere. Handlers set up
    before stay, but the one of an earlier call is replaced. `UnknownName` for another style or
    level.
    """
    levels = ("debug", "info", "warning", "error")
    if style not in STYLES:
        raise UnknownName("log style", style, STYLES)
    if level not in levels:
        raise UnknownName("log level", level, levels)
    target = sys.stderr if stream is None else stream
    as_json = style == "json" or (style == "auto" and not target.isatty())
    root = logging.getLogger()
    for old in [handler for handler in root.handlers if isinstance(handler, _Handler)]:
        root.removeHandler(old)
    handler = _Handler(target)
    handler.setFormatter(_JsonLines() if as_json else _TextLines())
    handler.addFilter(_Repetition())
    root.addHandler(handler)
    root.setLevel(level.upper())


def escape(text: str) -> str:
    r"""`text` on one line, its unsafe characters as `\xNN` or `\uNNNN`."""
    return _UNSAFE.sub(_escaped, text)


def redact(text: str) -> str:
    """`text` with our keys, and what follows `Bearer`, `token=` and the like, as `***`."""
    return _SECRET.sub(r"\1***", text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _trace() -> str:
    """Trace id of the request that this task answers."""
    record = current_record.get()
    return record.trace.trace_id if record is not None and record.trace is not None else ""


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, to tell it from others'."""


class _Lines(logging.Formatter):
    def _message(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if len(text) > MAX_MESSAGE:
            text = f"{text[:MAX_MESSAGE]}... ({len(text)} characters)"
        left_out = getattr(record, "left_out", 0)
        if left_out:
            text += f" ({left_out} like this were left out before it)"
        return redact(text)

    def _exception(self, record: logging.LogRecord) -> str:
        if not record.exc_info or record.exc_info[0] is None:
            return ""
        text = self.formatException(record.exc_info)
        # the end of a traceback is what names the error
        return redact(text if len(text) <= MAX_TRACEBACK else "..." + text[-MAX_TRACEBACK:])


class _JsonLines(_Lines):
    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._message(record),
            "pid": os.getpid(),
        }
        if trace := _trace():
            line["trace"] = trace
        if exception := self._exception(record):
            line["exception"] = exception
        # JSON's own escapes, and ASCII only: nothing in it can move a cursor
        return json.dumps(line, ensure_ascii=True)


class _TextLines(_Lines):
    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        trace = _trace()
        line = f"{clock} {record.levelname.lower():7} {escape(self._message(record))}"
        if trace:
            line += f" [trace {trace}]"
        for traced in self._exception(record).splitlines():
            line += f"\n         | {escape(traced)}"
        return line


@dataclass(slots=True)
class _Kind:
    began: float
    seen: int = 0
    left_out: int = 0


class _Repetition(logging.Filter):
    """Lets `BURST` records of one kind through in each `PERIOD_S`.

    A kind is a logger, a level and a message before its arguments are filled in.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._kinds: OrderedDict[tuple[str, int, str], _Kind] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        now = self._clock()
        key = (record.name, record.levelno, str(record.msg)[:MAX_MESSAGE])
        kind = self._kinds.setdefault(key, _Kind(now))
        self._kinds.move_to_end(key)
        if len(self._kinds) > MAX_KINDS:
            self._kinds.popitem(last=False)
        if now - kind.began >= PERIOD_S:
            kind.began, kind.seen = now, 0
        kind.seen += 1
        if kind.seen > BURST:
            kind.left_out += 1
            return False
        record.left_out, kind.left_out = kind.left_out, 0
        return True

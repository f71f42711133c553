"""The `Range` header of RFC 9110 §14, one range: https://www.rfc-editor.org/rfc/rfc9110#section-14

A server may ignore a `Range` it does not understand; several ranges at once, other units and
malformed ones are ignored that way and answered with the whole, as the RFC allows.
"""

from __future__ import annotations

import re

__all__ = ["Unsatisfiable", "byte_range"]

_ONE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII | re.IGNORECASE)


class Unsatisfiable(Exception):
    """The range begins at or after the end: status 416."""


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """`(start, stop)` with `0 <= start < stop <= size`, or None if the header is to be ignored.

    Raises `Unsatisfiable`.
    """
    match = _ONE.fullmatch(header.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:  # "-n": the last n bytes
        start, stop = max(size - int(last), 0), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size:
        raise Unsatisfiable
    return start, stop

"""A FlatBuffer in a file, every offset, length and index of it checked before it is followed.

https://flatbuffers.dev/internals/. Two kinds of model files are FlatBuffers, and neither runtime
checks them: it follows an offset of a file that was cut short to the end of the process.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from headtail.errors import IntegrityFault

__all__ = ["BrokenFile", "FlatBytes", "FlatTable", "check_index", "opened"]


class BrokenFile(Exception):
    """An offset, a length or an index that points nowhere; `opened` makes sentences of it."""


@contextmanager
def opened(path: Path, wanted: str) -> Iterator[FlatBytes]:
    """The file's bytes, without reading them all; a `BrokenFile` becomes an `IntegrityFault`."""
    try:
        with (
            path.open("rb") as file,
            closing(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) as data,
        ):
            yield FlatBytes(data)
    except BrokenFile as error:
        raise _refusal(path, wanted, str(error)) from None
    except ValueError:  # of mmap: nothing to map
        raise _refusal(path, wanted, "it is empty") from None
    except OSError as error:
        raise _refusal(path, wanted, error.strerror or "it cannot be opened") from None


def _refusal(path: Path, wanted: str, why: str) -> IntegrityFault:
    return IntegrityFault(
        f"{path.name} is not {wanted}: {why}.",
        file=path.name,
        expected="An artifact is complete and as it was exported.",
        remedy="Export the model again, or download it again.",
    )


class FlatBytes:
    """Numbers at checked places of the file."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.size = len(data)

    def number(self, code: str, place: int) -> int:
        """The number of struct code `code` at `place`."""
        width = struct.calcsize(code)
        self.inside(place, width)
        value: int = struct.unpack_from(f"<{code}", self.data, place)[0]
        return value

    def inside(self, place: int, length: int) -> None:
        """Raise unless `length` bytes from `place` are in the file."""
        if place < 0 or length < 0 or place + length > self.size:
            raise BrokenFile(f"{length} bytes at {place} are beyond its {self.size} bytes")


class FlatTable:
    """A FlatBuffer table; a field is asked for by its number in the schema."""

    def __init__(self, data: FlatBytes, place: int) -> None:
        self._data = data
        self._place = place
        self._vtable = place - data.number("i", place)
        self._length = data.number("H", self._vtable)
        data.inside(self._vtable, self._length)
        data.inside(place, data.number("H", self._vtable + 2))

    def number(self, field: int, code: str) -> int:
        """A number; 0 where it is not stored."""
        place = self._field(field)
        return self._data.number(code, place) if place else 0

    def table(self, field: int) -> FlatTable | None:
        """A table, if it is there."""
        place = self._pointed(field)
        return FlatTable(self._data, place) if place else None

    def vector(self, field: int, width: int) -> range:
        """The places of a vector's elements of `width` bytes; empty where it is not stored."""
        place = self._pointed(field)
        if not place:
            return range(0)
        count = self._data.number("I", place)
        self._data.inside(place + 4, count * width)
        return range(place + 4, place + 4 + count * width, width)

    def numbers(self, field: int, code: str) -> list[int]:
        """A vector of numbers."""
        width = struct.calcsize(f"<{code}")
        return [self._data.number(code, place) for place in self.vector(field, width)]

    def tables(self, field: int) -> Iterator[FlatTable]:
        """A vector of tables."""
        for place in self.vector(field, 4):
            yield FlatTable(self._data, place + self._data.number("I", place))

    def text(self, field: int) -> str:
        """A string; empty where it is not stored."""
        places = self.vector(field, 1)
        try:
            return self._data.data[places.start : places.stop].decode() if places else ""
        except UnicodeDecodeError:
            raise BrokenFile(f"the name at {places.start} is not UTF-8") from None

    def _field(self, field: int) -> int:
        entry = 4 + 2 * field
        if entry + 2 > self._length:
            return 0
        offset = self._data.number("H", self._vtable + entry)
        return self._place + offset if offset else 0

    def _pointed(self, field: int) -> int:
        place = self._field(field)
        return place + self._data.number("I", place) if place else 0


def check_index(place: int, count: int, kind: str) -> int:
    """`place`, if there are that many; raises `BrokenFile` otherwise."""
    if not 0 <= place < count:
        raise BrokenFile(f"it names {kind} {place} of {count}")
    return place

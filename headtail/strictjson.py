"""Frozen dataclasses to JSON and back; unknown or missing keys are refused as `message @ $.path`.

Why not pydantic: this runs on phones, where kivy-ios has no recipe for pydantic-core.
Supported field types: `str int float bool None`, `X | None`, `tuple[X, ...]`, `dict[str, X]` and
nested dataclasses. Canonical bytes are UTF-8, sorted keys, no spaces, finite numbers only, so equal
values have equal bytes (the idea of RFC 8785, https://www.rfc-editor.org/rfc/rfc8785, restricted to
what Python's shortest float form already gives).
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
import math
import re
import types
import typing
from typing import Any, TypeVar

import numpy as np

from headtail.errors import HeadtailError, SchemaFault

__all__ = ["canonical_bytes", "from_json", "parse", "to_json"]

T = TypeVar("T")
MAX_DEPTH = 32
MAX_WHOLE = 1 << 53  # largest range in which every integer is a float too
MAX_SHOWN = 200  # characters of a wrong value in an error
_STRING = re.compile(
    rb'(?s)"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
)  # one that never ends counts too
_BLANK = " \t\n\r"
_SURROGATE = re.compile(rb"(?i)\\ud[89a-f]")
_NOT_BRACKETS = bytes(sorted(set(range(256)) - set(b"[]{}")))
_REMEDY = "Write the file with this version of Headtail, or correct the value by hand."
_SCALARS: dict[Any, str] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "a boolean",
}


def canonical_bytes(value: Any) -> bytes:
    """The one byte form of a JSON value or dataclass."""
    text = json.dumps(
        to_json(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def to_json(value: Any) -> Any:
    """A dataclass (or nest of them) as plain dicts, lists and scalars."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return value


def parse(data: bytes, *, path: str = "$") -> Any:
    """JSON text to plain values; duplicate keys, NaN, excessive nesting and texts that are no
    Unicode (half of a surrogate pair) are refused."""
    _check_depth(data, path)
    try:
        text = data.decode("utf-8").strip(_BLANK)
        value, end = _decoder(path).raw_decode(text)  # `decode` looks for blanks in a slow way
        if end != len(text):
            raise json.JSONDecodeError("Extra data", text, end)
        if b"\\u" in data and _SURROGATE.search(data):
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, UnicodeError) as error:
        raise SchemaFault(f"Not JSON: {error}", path, remedy=_REMEDY) from None
    return value


@functools.lru_cache(maxsize=8)  # making one costs as much as parsing a request
def _decoder(path: str) -> json.JSONDecoder:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(items)
        if len(out) != len(items):
            twice = collections.Counter(key for key, _ in items).most_common(1)[0][0]
            raise SchemaFault(f"Key {_shown(twice)} appears twice", path, remedy=_REMEDY)
        return out

    def constant(word: str) -> Any:
        raise SchemaFault(f"{word} is not a JSON number", path, remedy=_REMEDY)

    return json.JSONDecoder(object_pairs_hook=pairs, parse_constant=constant)


def from_json(cls: type[T], value: Any, *, path: str = "$") -> T:
    """Plain values to dataclass `cls`; every mismatch is a `SchemaFault` that names its place."""
    if not isinstance(value, dict):
        raise SchemaFault(f"Expected an object, got {type(value).__name__}", path, remedy=_REMEDY)
    hints = _hints(cls)  # type: ignore[arg-type]  # mypy does not know that classes can be hashed
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]  # T is a dataclass
    unknown = sorted(set(value) - set(fields))
    if unknown:
        raise SchemaFault(f"Unknown key {_shown(unknown[0])}", path, remedy=_REMEDY)
    missing = sorted(set(fields) - set(value))
    if missing:
        raise SchemaFault(f"Missing key {missing[0]!r}", path, remedy=_REMEDY)
    typed = {n: _typed(hints[n], value[n], f"{path}.{n}") for n in fields}
    try:
        return cls(**typed)
    except HeadtailError as error:  # the class's own rules, such as a table of known names
        remedy = f"{error.expected} {error.remedy}"
        raise SchemaFault(error.what.rstrip("."), path, remedy=remedy) from None


@functools.cache  # reading annotations takes longer than reading what they describe
def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _typed(hint: Any, value: Any, path: str) -> Any:
    if hint is Any:
        return value
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _optional(hint, value, path)
    if origin is tuple:
        return _tuple(hint, value, path)
    if origin is dict:
        return _dict(hint, value, path)
    if dataclasses.is_dataclass(hint):
        return from_json(typing.cast(type[Any], hint), value, path=path)
    return _scalar(hint, value, path)


def _optional(hint: Any, value: Any, path: str) -> Any:
    inner = [arg for arg in typing.get_args(hint) if arg is not type(None)]
    return None if value is None else _typed(inner[0], value, path)


def _tuple(hint: Any, value: Any, path: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise SchemaFault(f"Expected a list, got {type(value).__name__}", path, remedy=_REMEDY)
    item = typing.get_args(hint)[0]
    return tuple(_typed(item, entry, f"{path}[{i}]") for i, entry in enumerate(value))


def _dict(hint: Any, value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SchemaFault(f"Expected an object, got {type(value).__name__}", path, remedy=_REMEDY)
    item = typing.get_args(hint)[1]
    return {key: _typed(item, entry, f"{path}.{key}") for key, entry in value.items()}


def _scalar(hint: Any, value: Any, path: str) -> Any:
    # bool is a subclass of int in Python and never meant as one in JSON
    right = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    if hint is float and type(value) is int and abs(value) <= MAX_WHOLE:
        value, right = float(value), True
    if not right or (hint is float and not math.isfinite(value)):
        raise SchemaFault(f"Expected {_SCALARS[hint]}, got {_shown(value)}", path, remedy=_REMEDY)
    return value


def _shown(value: Any) -> str:
    # a value may be as large as the file; an error is a sentence
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _check_depth(data: bytes, path: str) -> None:
    """json.loads recurses in C; a megabyte of "[" must not reach it."""
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    # without escapes every quote begins or ends a string, and splitting is 3x faster
    outside = _STRING.split(data) if b"\\" in data else data.split(b'"')[::2]
    brackets = np.frombuffer(b"".join(outside).translate(None, _NOT_BRACKETS), np.uint8)
    steps = np.where((brackets == ord("[")) | (brackets == ord("{")), 1, -1)
    deepest = int(np.cumsum(steps).max(initial=0))
    if deepest > MAX_DEPTH:
        raise SchemaFault(f"Nested {deepest} levels deep, limit {MAX_DEPTH}", path, remedy=_REMEDY)

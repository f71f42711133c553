"""Values on their way to the page: each knows where in the JSON it stands.

A number is written as `<data value="0.953125" data-at="artifacts.2.agreement.value">0.953</data>`:
the JSON's own value, its place, and the text that a reader sees. A page whose every number comes
from `Spot.show` cannot say anything else than its JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from html import escape
from typing import Any

from headtail.errors import UnknownName
from headtail.metrics import DB_LIMIT

__all__ = ["NUMBERS", "Spot", "number"]

MINUS = "\N{MINUS SIGN}"


def _db(value: float) -> str:
    if abs(value) >= DB_LIMIT:
        return "\N{INFINITY}" if value > 0 else f"{MINUS}\N{INFINITY}"
    return f"{value:.1f}"


def _power(value: float) -> str:
    digits, _, exponent = f"{value:.1e}".partition("e")
    return f"{digits}e{int(exponent)}"


NUMBERS: Mapping[str, Callable[[float], str]] = {
    "bytes": lambda value: f"{value:,.0f}",
    "count": lambda value: f"{value:,}",
    "db": _db,
    "mb": lambda value: f"{value / 1e6:.2f}",
    "ms": lambda value: f"{value:.2f}",
    "percent": lambda value: f"{value:.1%}",
    "ratio": lambda value: f"{value:.2f}\N{MULTIPLICATION SIGN}",
    "seconds": lambda value: f"{value:.1f}",
    "share": lambda value: f"{value:.3f}",
    "signed": lambda value: f"{value:+.3f}" if abs(value) >= 5e-4 else "0.000",
    "small": lambda value: f"{value:.2g}" if value >= 1e-4 or value == 0 else _power(value),
    "spread": lambda value: f"{value:.3g}",
}


def number(value: float, kind: str) -> str:
    """`value` as the page writes numbers of this kind, a key of `NUMBERS`."""
    if kind not in NUMBERS:
        raise UnknownName("kind of number", kind, NUMBERS)
    return NUMBERS[kind](value).replace("-", MINUS)


class Spot:
    """A value of the JSON and the keys that lead to it."""

    def __init__(self, value: Any, path: tuple[str, ...] = ()) -> None:
        self.value = value
        self.path = path

    def __getitem__(self, key: str | int) -> Spot:
        return Spot(self.value[key], (*self.path, str(key)))

    def __iter__(self) -> Iterator[Spot]:
        keys = self.value if isinstance(self.value, dict) else range(len(self.value))
        return (self[key] for key in keys)

    def __bool__(self) -> bool:
        """Is there anything?"""
        return self.value not in (None, "", [], {})

    def __str__(self) -> str:
        """The text, safe in HTML."""
        return escape(str(self.value))

    @property
    def key(self) -> str:
        """The last step of the path, safe in HTML."""
        return escape(self.path[-1])

    @property
    def at(self) -> str:
        """The attribute that names the place."""
        return f'data-at="{escape(json.dumps(self.path))}"'

    @property
    def dotted(self) -> str:
        """The text as code, which may be broken after a dot or an underscore."""
        words = str(self).replace(".", ".<wbr>").replace("_", "_<wbr>")
        return f"<code>{words}</code>"

    def text(self, kind: str) -> str:
        """The number as text, for titles; a dash if there is none."""
        return "\N{EN DASH}" if self.value is None else number(self.value, kind)

    def show(self, kind: str) -> str:
        """The number as an element that says where it is from; a dash if there is none."""
        if self.value is None:
            return f'<data value="null" {self.at}>\N{EN DASH}</data>'
        raw = escape(json.dumps(self.value))
        return f'<data value="{raw}" {self.at} data-as="{kind}">{self.text(kind)}</data>'

"""HTML that the sections are made of: headed sections, tables, lines for what is not there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from html import escape

from headtail.report_page.glyphs import glyph, named
from headtail.report_page.spots import Spot

__all__ = [
    "artifact_name",
    "definitions",
    "head",
    "interval",
    "missing",
    "row_head",
    "section",
    "table",
]


def section(title: str, about: str, body: str) -> str:
    """A section with its heading and explanation beside it; `about` and `body` are HTML."""
    name = "".join(letter if letter.isalnum() else "-" for letter in title.lower())
    return (
        f'<section aria-labelledby="{name}"><div class="about"><h2 id="{name}">{escape(title)}</h2>'
        f"<p>{about}</p></div><div>{body}</div></section>"
    )


def missing(what: str, *, command: str) -> str:
    """One line: what is not there and how to get it."""
    return f'<p class="none">{escape(what)} <code>{escape(command)}</code></p>'


def table(caption: str, headings: str, rows: Iterable[str]) -> str:
    """A table that scrolls by itself where it is wider than the page."""
    # a caption inside would be as wide as the table and be cut off with it
    name = "t-" + sha256(f"{caption}{headings}".encode()).hexdigest()[:8]
    return (
        f'<p class="caption" id="{name}">{escape(caption)}</p>'
        f'<div class="scroll" role="region" aria-labelledby="{name}" tabindex="0">'
        f'<table aria-labelledby="{name}"><thead>{headings}</thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def head(columns: Sequence[str]) -> str:
    """A row of column headings; one that ends in `#` heads figures."""
    cells = [
        f'<th scope="col" class="n">{escape(name[:-1])}</th>'
        if name.endswith("#")
        else f'<th scope="col">{escape(name)}</th>'
        for name in columns
    ]
    return f"<tr>{''.join(cells)}</tr>"


def row_head(artifact: Spot) -> str:
    """The heading of an artifact's row: mark, format and precision."""
    mark = glyph(artifact["format"].value)
    return f'<th scope="row"><span class="name">{mark}{artifact_name(artifact)}</span></th>'


def artifact_name(artifact: Spot) -> str:
    """Format and precision, as a person calls them."""
    return f"{named(artifact['format'].value)} {artifact['precision']}"


def interval(measured: Spot, kind: str) -> str:
    """A figure, and its interval below it."""
    if not measured:
        return measured.show(kind)
    if measured["low"].value is None:
        return measured["value"].show(kind)
    low, high = measured["low"].show(kind), measured["high"].show(kind)
    return f"{measured['value'].show(kind)}<small>{low} to {high}</small>"


def definitions(pairs: Iterable[tuple[str, str]]) -> str:
    """Terms and what they are; the second is HTML."""
    return f"<dl>{''.join(f'<dt>{escape(a)}</dt><dd>{b}</dd>' for a, b in pairs)}</dl>"

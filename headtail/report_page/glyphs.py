"""The mark of each format: a colour and, since colours are not enough, a shape."""

from __future__ import annotations

from html import escape

from headtail.report_page.style import FORMATS

__all__ = ["colour", "glyph", "mark", "named"]

OTHER = ("four", "diamond")
# corners around (0, 0) of about the area of a circle of radius 1
_SHAPES = {
    "square": "-.9,-.9 .9,-.9 .9,.9 -.9,.9",
    "up": "0,-1.2 1.15,.85 -1.15,.85",
    "diamond": "0,-1.25 1.25,0 0,1.25 -1.25,0",
}


def colour(format: str) -> str:  # noqa: A002  # the field's word
    """The variable of the style sheet."""
    return f"var(--{FORMATS.get(format, OTHER)[0]})"


def mark(format: str, x: float, y: float, radius: float, *, filled: bool) -> str:  # noqa: A002
    """An SVG shape at (x, y); hollow ones show the paper."""
    ink = colour(format)
    look = f'class="mark" stroke="{ink}" fill="{ink if filled else "var(--paper)"}"'
    shape = FORMATS.get(format, OTHER)[1]
    if shape == "circle":
        return f'<circle {look} cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"/>'
    pairs = [pair.split(",") for pair in _SHAPES[shape].split()]
    points = " ".join(f"{x + radius * float(a):.1f},{y + radius * float(b):.1f}" for a, b in pairs)
    return f'<polygon {look} points="{points}"/>'


def glyph(format: str) -> str:  # noqa: A002
    """The mark as a small picture in running text."""
    inside = mark(format, 8, 8, 5.5, filled=True)
    return f'<svg class="glyph" viewBox="0 0 16 16" aria-hidden="true">{inside}</svg>'


def named(format: str) -> str:  # noqa: A002
    """What a person calls the format."""
    names = {"coreml": "Core ML", "litert": "LiteRT", "executorch": "ExecuTorch"}
    return escape(names.get(format, format))

"""Numbers and names as the screens write them; no layout, no kivy."""

from __future__ import annotations

import math

__all__ = ["RUNTIME_NAMES", "byte_size", "drawable", "milliseconds", "percent", "shortened"]

RUNTIME_NAMES = {"coreml": "Core ML", "executorch": "ExecuTorch", "litert": "LiteRT"}  # by format
MS_DIGITS = ((1.0, 2), (100.0, 1), (math.inf, 0))  # below so many ms, so many decimals
BYTE_UNITS = (("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1_000))
LONGEST = 200  # letters of a name that are drawn
LEAST = 0.001  # the least probability that the screen shows as a number


def milliseconds(value: float) -> str:
    """`0.84 ms`, `12.3 ms`, `140 ms`: three significant digits at most."""
    digits = next(digits for below, digits in MS_DIGITS if value < below)
    return f"{value:.{digits}f} ms"


def byte_size(value: int) -> str:
    """`980 B`, `19.2 KB`, `18.7 MB`, in decimal units."""
    for unit, size in BYTE_UNITS:
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value} B"


def percent(probability: float) -> str:
    """`97.1 %`; what is not zero never reads as zero, what is not certain never as 100."""
    if 0 < probability < LEAST:
        return "< 0.1 %"
    if 1 - LEAST < probability < 1:
        return "> 99.9 %"
    return f"{probability * 100:.1f} %"


def shortened(text: str, *, most: int = LONGEST) -> str:
    """The first letters of a name or label, `most` with an ellipsis where there are more: a file
    may hold any, and drawing a hundred thousand would halt the screen."""
    return text if len(text) <= most else f"{text[: most - 1]}\u2026"


def drawable(text: str) -> str:
    """What a file system or an error says, less what is no Unicode: kivy ends the app over it."""
    return text.encode("utf-8", "replace").decode()

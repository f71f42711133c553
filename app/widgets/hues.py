"""A hue by its name in the theme: the letters, and the quiet ground under them."""

from __future__ import annotations

from kivy.utils import get_color_from_hex

from app.theme import Theme

__all__ = ["ground", "ink"]

CALM = "calm"  # neither good nor bad


def ink(theme: Theme, hue: str) -> list[float]:
    """The colour of letters: `device`, `server`, `warning`, `danger` or `calm`."""
    return list(get_color_from_hex(theme.muted if hue == CALM else getattr(theme, hue)))


def ground(theme: Theme, hue: str) -> list[float]:
    """The ground under them."""
    tint = theme.sunken if hue == CALM else getattr(theme, f"tint_{hue}")
    return list(get_color_from_hex(tint))

"""Colours, as hex strings.

Two colours carry meaning everywhere: `device` is what ran here, `server` what ran there. Text on
its ground has a contrast of at least 4.5 : 1 (WCAG 2.2, success criterion 1.4.3,
https://www.w3.org/TR/WCAG22/#contrast-minimum); a test computes it.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DARK", "LIGHT", "Theme"]


@dataclass(frozen=True)
class Theme:
    """One set of colours; `tint_*` are the quiet grounds for text in the same hue."""

    name: str
    ground: str
    surface: str
    raised: str
    sunken: str
    outline: str
    text: str
    muted: str
    device: str
    tint_device: str
    server: str
    tint_server: str
    warning: str
    tint_warning: str
    danger: str
    tint_danger: str


LIGHT = Theme(
    name="light",
    ground="#F4F3F0",
    surface="#FFFFFF",
    raised="#FFFFFF",
    sunken="#E9E7E2",
    outline="#DCD9D2",
    text="#17181C",
    muted="#5F6270",
    device="#3348D6",
    tint_device="#E4E8FD",
    server="#B8400F",
    tint_server="#FCE7DC",
    warning="#8A5A00",
    tint_warning="#FBEFCF",
    danger="#B3261E",
    tint_danger="#FBE4E1",
)

DARK = Theme(
    name="dark",
    ground="#101217",
    surface="#1A1D25",
    raised="#3A4050",
    sunken="#272B36",
    outline="#323745",
    text="#EFF0F5",
    muted="#A3A8B8",
    device="#93A4FF",
    tint_device="#262D55",
    server="#FF9E73",
    tint_server="#4A2A1B",
    warning="#F0BE55",
    tint_warning="#40330F",
    danger="#FF9A90",
    tint_danger="#4B211D",
)

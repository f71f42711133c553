"""What a card says: the words, the hues and the buttons, without a screen."""

from __future__ import annotations

from dataclasses import dataclass

from app.problems import Problem

__all__ = ["CALM", "DANGER", "GOOD", "SERVER", "WARNING", "Button", "CardView", "Chip", "Row"]

CALM, GOOD, SERVER, WARNING, DANGER = "calm", "device", "server", "warning", "danger"


@dataclass(frozen=True)
class Chip:
    """A short text on a tinted ground; `hue` names a colour of the theme, or `calm`."""

    text: str
    hue: str = CALM


@dataclass(frozen=True)
class Row:
    """An artifact: format and precision, what is known of it, and why it does not run here."""

    title: str
    detail: str
    note: str = ""
    chosen: bool = False


@dataclass(frozen=True)
class Button:
    """A gesture: `verb` is what the screen calls, on `subject`."""

    label: str
    verb: str
    subject: str
    hue: str = GOOD


@dataclass(frozen=True)
class CardView:
    """What one card says. `kinds` are its artifacts in short, `rows` in full once that was asked
    for. `share` in [0, 1] is how far its download is, None without one.
    """

    key: str
    title: str
    subtitle: str
    chips: tuple[Chip, ...] = ()
    kinds: tuple[Chip, ...] = ()
    summary: str = ""
    rows: tuple[Row, ...] = ()
    share: float | None = None
    progress: str = ""
    problem: Problem | None = None
    buttons: tuple[Button, ...] = ()

"""What the scanner shows, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass

from app.live.state import Picture
from app.problems import Problem

__all__ = ["ScanState"]


@dataclass(frozen=True)
class ScanState:
    """`opened`: the scanner is on screen. `picture` is the camera's newest frame, None before the
    first. `note` says what was read and why it is not taken, `reading` is the name of the chosen
    picture that is being looked at. `unable` says why no code can be read here at all, `obstacle`
    why the camera gives nothing. `can_pick`: a picture can be chosen from a list or a dialog,
    `can_drop`: files can be dropped onto the window.
    """

    can_pick: bool = False
    can_drop: bool = True
    opened: bool = False
    picture: Picture | None = None
    note: str = ""
    reading: str = ""
    unable: Problem | None = None
    obstacle: Problem | None = None

    @property
    def hint(self) -> str:
        """What to do now."""
        if self.unable is not None:
            return "Open the link with your camera app, or type the code below."
        ways = ["choose"] * self.can_pick + ["drop"] * self.can_drop
        other = f"{' or '.join(ways)} a picture of it"
        if self.obstacle is not None:
            return f"Without a camera: {other}, or type it below."
        return f"Hold the code that `headtail serve` shows before the camera, or {other}."

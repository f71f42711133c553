"""What the inference thread is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.settings.preferences import Preferences

__all__ = ["Choices", "Request"]


@dataclass(frozen=True)
class Choices:
    """What of the preferences changes answers; see `Preferences`."""

    mode: str = "off"
    server: str = ""
    cut: str = ""
    codec: str = ""
    deadline_ms: float = 1000.0
    picture_may_leave: bool = False
    threads: int = 1
    accelerator: str = "cpu"

    @classmethod
    def of(cls, preferences: Preferences) -> Choices:
        """Those of the preferences."""
        return cls(**{name: getattr(preferences, name) for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Request:
    """The bundle and choices that the page wants answers by; see `app.live.state` for the rest.

    `ahead` is whether a picture is shown before its answer is there: a camera must not lag, and a
    photo comes alone. In a replay no picture stands over the answer to another.
    """

    ticket: int
    run: int
    bundle: Path | None
    choices: Choices
    ahead: bool = True

"""How long work tells its caller what it is doing; printing is the command line's affair."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

__all__ = ["Progress", "Quiet", "StageClock"]


class Progress(Protocol):
    """Receives stage names, remarks and stage times."""

    def begin(self, stage: str) -> None:
        """A stage starts."""
        ...

    def note(self, text: str) -> None:
        """Something worth a line happened in the running stage."""
        ...

    def end(self, stage: str, seconds: float) -> None:
        """The stage is over."""
        ...


class Quiet:
    """Says nothing."""

    def begin(self, stage: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def end(self, stage: str, seconds: float) -> None:
        """Nothing."""


class StageClock:
    """Times stages for a `Progress` and keeps the seconds by stage name."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage; told to the progress even if it fails."""
        self.progress.begin(name)
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(time.perf_counter() - start, 3)
            self.progress.end(name, self.seconds[name])

"""Long lists drawn over several frames, so that none of them is late.

Making a row of widgets takes a millisecond or more; fifty at once would be seen as a halt.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from kivy.clock import Clock

__all__ = ["Gradual"]

BUDGET_S = 0.006  # of a frame's 16 ms; at least one step is made in each


class Gradual:
    """Makes the steps of one iterator, some a frame; another one takes its place."""

    def __init__(self) -> None:
        self._steps: Iterator[None] = iter(())
        self._event = Clock.create_trigger(self._go_on, 0, interval=True)

    def begin(self, steps: Iterator[None]) -> None:
        """Make `steps` from the next frame on; what was left of the former ones is not made."""
        self._steps = steps
        self._event()

    def _go_on(self, _dt: float) -> bool:
        end = time.perf_counter() + BUDGET_S
        while time.perf_counter() < end:
            try:
                next(self._steps)
            except StopIteration:
                return False  # no more frames are wanted
        return True

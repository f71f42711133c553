"""Long lists drawn over several frames, so that none of them is late.

Making a row of widgets takes a millisecond or more; fifty at once would be seen as a halt.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from kivy.clock import Clock

__all__ = ["Gradual"]

BUDGET_S = 0.006  # of a frame's 16 ms, for all of them together


class _Budget:
    """What is left of this frame."""

    def __init__(self) -> None:
        self._frame, self._left_s = -1, 0.0

    def left(self) -> bool:
        """Whether another step may be made; the first one of a frame always may."""
        if Clock.frames != self._frame:
            self._frame, self._left_s = Clock.frames, BUDGET_S
        return self._left_s > 0

    def spend(self, seconds: float) -> None:
        self._left_s -= seconds


_budget = _Budget()


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
        while _budget.left():
            started = time.perf_counter()
            try:
                next(self._steps)
            except StopIteration:
                return False  # no more frames are wanted
            finally:
                _budget.spend(time.perf_counter() - started)
        return True

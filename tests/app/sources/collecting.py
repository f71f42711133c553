"""What a source tells, kept for a test that waits for it."""

from __future__ import annotations

import queue

from app.sources.base import FrameSource, SourceFrame

__all__ = ["Collected"]

SOON_S = 5.0


class Collected:
    """Starts a source; `frame()` and `fault()` wait for the next of their kind."""

    def __init__(self, source: FrameSource) -> None:
        self.frames: queue.Queue[SourceFrame] = queue.Queue()
        self.faults: queue.Queue[Exception] = queue.Queue()
        self.source = source
        source.start(self.frames.put, self.faults.put)

    def frame(self) -> SourceFrame:
        """The next frame."""
        return self.frames.get(timeout=SOON_S)

    def fault(self) -> Exception:
        """What stood in the way."""
        return self.faults.get(timeout=SOON_S)

"""The source of the moment: made when it is chosen, stopped when it is left."""

from __future__ import annotations

from pathlib import Path

from app.live.state import LiveState, SourceKind
from app.platforms import Platform
from app.sources.base import FrameSource
from app.sources.photo import PhotoSource
from app.sources.replay import PhotoReplay, open_replay
from app.sources.synthetic import Pattern
from headtail.errors import UsageFault

__all__ = ["SourceRack"]


class SourceRack:
    """Sources by kind; the camera is the platform's."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._replay: FrameSource | None = None
        self._camera: FrameSource | None = None
        self._running: FrameSource | None = None

    def load_replay(self, path: Path) -> str:
        """Play `path` from now on; its name. Raises what `open_replay` does."""
        self._replay = open_replay(path)
        return self._replay.name

    def source_for(self, state: LiveState) -> FrameSource | None:
        """What the state asks for, None if no photo is chosen. The former one is stopped.

        Raises `UsageFault` where there is nothing to replay.
        """
        self.stop()
        self._running = self._found(state)
        return self._running

    def stop(self) -> None:
        """Give the device back."""
        if self._running is not None:
            self._running.stop()
        self._running = None

    def _found(self, state: LiveState) -> FrameSource | None:
        if state.source is SourceKind.PHOTOS:
            return None if state.chosen is None else PhotoSource(state.chosen)
        if state.source is SourceKind.DEMO:
            return Pattern()
        if state.source is SourceKind.CAMERA:
            if self._camera is None:
                self._camera = self._platform.camera()
            return self._camera
        if self._replay is not None:
            return self._replay
        if state.photos:
            return PhotoReplay("photos", [card.photo for card in state.photos])
        raise UsageFault(
            "There is nothing to replay yet.",
            expected="A folder of photos, an animated GIF, WebP or PNG, or a video.",
            remedy="Drop one onto the window, or open a bundle: its sample photos can be replayed.",
        )

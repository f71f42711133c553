"""`tests.app.drawing` with a camera that plays a file: a JSON job on stdin, a line on stdout."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from app.platforms import PLATFORMS
from app.sources.base import Deliver, Failed
from app.sources.camera_opencv import DeskCamera
from app.sources.replay import open_replay
from tests.app.drawing import Artist, draw


class PlayedCamera:
    """The camera: plays `film`, or is the desk's own without a picture if that is "".

    `starts` counts all of them, `running` those that were not stopped.
    """

    name = "camera"
    still = False

    def __init__(self) -> None:
        self.film = ""
        self.running = self.starts = 0
        self._source: Any = None

    def start(self, deliver: Deliver, failed: Failed) -> None:
        self.running += 1
        self.starts += 1
        unplugged = DeskCamera(capture=Unplugged)
        self._source = open_replay(Path(self.film)) if self.film else unplugged
        self._source.start(deliver, failed)

    def stop(self) -> None:
        self.running -= 1
        self._source.stop()


class Unplugged:
    """`cv2.VideoCapture` of a camera that is not there."""

    def __init__(self, _index: int) -> None: ...

    def read(self) -> tuple[bool, None]:
        return False, None

    def release(self) -> None: ...


class Scanner(Artist):
    """Steps on when the scanner has said what is waited for."""

    def __init__(self, app: Any, job: dict[str, Any], camera: PlayedCamera) -> None:
        super().__init__(app, job)
        self.camera = camera
        self.awaited = ""

    def calm(self) -> bool:
        texts = [getattr(widget, "text", "") for widget in self.widgets()]
        return super().calm() and any(self.awaited in text for text in texts)

    def begin(self, scene: dict[str, Any]) -> None:
        self.awaited = ""
        self.app.application.scanning.close()
        super().begin(scene)

    def do(self, step: Any) -> None:
        self.awaited = ""  # it came
        super().do(step)

    def do_film(self, path: str) -> None:
        self.camera.film = path

    def do_await(self, words: str) -> None:
        """Nothing more is done until the window says `words`."""
        self.awaited = words

    def do_pause(self) -> None:
        self.app.on_pause()

    def do_resume(self) -> None:
        self.app.on_resume()

    def finish(self, scene: dict[str, Any]) -> None:
        super().finish(scene)
        offered = self.app.application.settings.state.offered
        self.told[-1] |= {
            "running": self.camera.running,
            "starts": self.camera.starts,
            "opened": self.app.application.scanning.state.opened,
            "offered": offered.url if offered else "",
        }


def main() -> None:
    """Run one job."""
    from kivy.utils import platform

    camera = PlayedCamera()
    PLATFORMS[platform] = dataclasses.replace(PLATFORMS[platform], camera=lambda: camera)
    draw(lambda app, job: Scanner(app, job, camera))


if __name__ == "__main__":
    main()

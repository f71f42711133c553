"""The README's pictures of the app: `python -m tests.app.take_screenshots BUNDLE PHOTO URL FOLDER`.

The real app with BUNDLE and the running companion server at URL: PHOTO answered by force with the
server (`app.png`), a replay in automatic mode on the Offload page (`app-offload.png`), and a
benchmark that was made for the picture (`app-benchmark.png`, dark). Drawn without a screen.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SIZE, DENSITY = (408, 884), 1.5
COLOURS = 128  # a palette: a truecolour photo would make the file four times as large
PATIENCE = 6000  # frames


class Photographer:
    """Steps once a frame through `tour`, which yields what to wait for."""

    def __init__(self, app: Any, tour: Iterator[Callable[[], bool]]) -> None:
        self.app, self.tour = app, tour
        self.waiting_for: Callable[[], bool] = next(tour)
        self.frames = 0

    def step(self, _dt: float) -> None:
        """Go on when what was waited for has come."""
        self.frames += 1
        assert self.frames < PATIENCE, "what was waited for did not come"
        if self.waiting_for():
            following = next(self.tour, None)
            if following is None:
                self.app.stop()
            else:
                self.waiting_for, self.frames = following, 0


def tour(app: Any, photo: Path, folder: Path) -> Iterator[Callable[[], bool]]:
    """Every page of the README, in turn."""
    from app.benchmark.state import Phase
    from app.live.state import Place, SourceKind
    from app.pages import PageName
    from app.sources.photo import photo_file

    application = app.application
    live, benchmark, preferences = application.live, application.benchmark, application.preferences
    yield lambda: live.state.result is not None
    preferences.change(mode="force")
    live.add_photos([photo_file(photo)])
    for _ in range(3):  # the milliseconds are not those of a first contact
        live.choose(live.state.chosen)
        yield frames(45)
        yield lambda: not live.state.busy and live.state.result.place is Place.SPLIT
    yield frames(60)
    take(folder / "app.png")
    preferences.change(mode="auto")
    live.choose_source(SourceKind.REPLAY)
    application.navigation.go(PageName.OFFLOAD)
    yield frames(600)
    take(folder / "app-offload.png")
    live.choose_source(SourceKind.PHOTOS)
    preferences.change(mode="off", theme="dark")
    application.navigation.go(PageName.BENCHMARK)
    yield lambda: bool(benchmark.state.planned)
    yield frames(30)
    benchmark.set_runs(30)
    benchmark.start()
    yield lambda: benchmark.state.phase is Phase.READY and bool(benchmark.state.rows)
    yield frames(90)
    take(folder / "app-benchmark.png")


def frames(count: int) -> Callable[[], bool]:
    """What is true after so many frames."""
    left = iter(range(count))
    return lambda: next(left, None) is None


def take(path: Path) -> None:
    """The window as it is, as a PNG with a palette."""
    from kivy.core.window import Window
    from PIL import Image

    written = Path(Window.screenshot(name=str(path)))  # kivy adds a number
    picture = Image.open(written).convert("RGB")
    written.unlink()
    picture.quantize(COLOURS, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size} bytes")


def main(arguments: list[str]) -> int:
    """Take them."""
    if len(arguments) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    bundle, photo, url, folder = arguments
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {
            "SDL_VIDEODRIVER": "offscreen",
            "KIVY_HOME": home,
            "KIVY_NO_ARGS": "1",
            "KIVY_NO_CONSOLELOG": "1",
            "KIVY_METRICS_DENSITY": str(DENSITY),
        }
        from kivy.config import Config

        for name, value in zip(("width", "height"), SIZE, strict=True):
            Config.set("graphics", name, str(round(value * DENSITY)))
        from kivy.clock import Clock

        from app.kivy_app import HeadtailApp

        app = HeadtailApp(bundle=Path(bundle), server="", photos=None, folder=Path(home))
        app.application.preferences.change(guide_done=True, server=url)
        photographer = Photographer(app, tour(app, Path(photo), Path(folder)))
        Clock.schedule_interval(photographer.step, 0)
        app.run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

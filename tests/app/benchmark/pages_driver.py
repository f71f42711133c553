"""Runs the app for `test_pages`: measures, and photographs the Benchmark and Report pages.

One JSON job on stdin (`bundle`, `folder` for pictures), one JSON line on stdout: per picture its
theme, size and texts with their boxes (window pixels, origin at the bottom left).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SIZES = ((412, 892), (1000, 700))
PATIENCE_S = 80
STILL = 6  # frames without a change before a picture


class Tour:
    """A generator's steps, one a frame: it yields while something is not there yet."""

    def __init__(self, app: Any, job: dict[str, str]) -> None:
        self.app = app
        self.folder = Path(job["folder"])
        self.bundle = Path(job["bundle"])
        self.seen: dict[str, Any] = {}
        self.end = time.monotonic() + PATIENCE_S
        self.steps = self.walk()

    def step(self, _dt: float) -> None:
        if time.monotonic() > self.end:
            self.seen["gave up"] = repr(self.app.application.benchmark.state)[:1000]
            self.app.stop()
            return
        try:
            next(self.steps)
        except StopIteration:
            self.app.stop()

    def walk(self) -> Iterator[None]:
        from kivy.core.window import Window

        from app.pages import PageName

        Window.size = SIZES[0]
        application = self.app.application
        application.navigation.go(PageName.BENCHMARK)
        yield from self.picture("empty")
        application.open_bundle(self.bundle)
        while application.live.state.bundle is None:
            yield
        application.navigation.go(PageName.BENCHMARK)
        yield from self.until(lambda: application.benchmark.state.phase.value == "ready")
        application.benchmark.set_runs(10)
        for _ in range(2):
            self.press("go")  # a frame later it may have ended
            assert application.benchmark.state.phase.value == "running"
            if "running" not in self.seen:
                self.describe("running")
            yield from self.until(lambda: application.benchmark.state.phase.value == "ready")
        yield from self.pictures("benchmark")
        application.navigation.go(PageName.REPORT)
        yield from self.until(lambda: application.report.state.phase.value == "ready")
        self.press("save")
        yield from self.until(lambda: application.report.state.saved is not None)
        self.press("copy")
        yield from self.pictures("report")
        from kivy.core.clipboard import Clipboard

        self.seen["clipboard"] = Clipboard.paste()
        self.seen["saved"] = str(application.report.state.saved)

    def pictures(self, name: str) -> Iterator[None]:
        from kivy.core.window import Window

        for size in SIZES:
            Window.size = size
            for theme in ("light", "dark"):
                self.app.application.preferences.change(theme=theme)
                yield from self.picture(f"{name}-{theme}-{size[0]}")
        Window.size = SIZES[0]

    def picture(self, name: str) -> Iterator[None]:
        from kivy.core.window import Window

        for _ in range(STILL):
            yield
        file = self.folder / f"{name}.png"
        Path(Window.screenshot(name=str(file))).replace(file)  # kivy adds a number
        self.describe(name)

    def describe(self, name: str) -> None:
        from kivy.core.window import Window

        page = self.app.shell.page
        self.seen[name] = {
            "theme": self.app.theme.name,
            "size": [Window.width, Window.height],
            "texts": list(self.texts(page)),
        }

    def texts(self, widget: Any) -> Iterator[dict[str, Any]]:
        if widget.opacity < 0.05 or not widget.height:
            return
        text = getattr(widget, "text", "")
        if isinstance(text, str) and text:
            x, y = widget.to_window(widget.x, widget.y)
            yield {"text": text, "box": [x, y, widget.width, widget.height]}
        for child in reversed(widget.children):
            yield from self.texts(child)

    def press(self, name: str) -> None:
        from kivy.tests.common import UnitTestTouch

        widget = self.app.shell.page.ids[name]
        touch = UnitTestTouch(*widget.to_window(*widget.center))
        touch.touch_down()
        touch.touch_up()

    def until(self, reached: Any) -> Iterator[None]:
        while not reached():
            yield
        for _ in range(STILL):
            yield


def main() -> None:
    """Run one tour."""
    job = json.loads(sys.stdin.read())
    from kivy.config import Config

    # offscreen a window grows no larger than it was made
    Config.set("graphics", "width", str(max(width for width, _ in SIZES)))
    Config.set("graphics", "height", str(max(height for _, height in SIZES)))
    Config.set("graphics", "maxfps", "60")
    from kivy.clock import Clock

    from app.kivy_app import HeadtailApp

    app = HeadtailApp(bundle=None, server="", photos=None, folder=Path(os.environ["KIVY_HOME"]))
    app.application.preferences.change(guide_done=True, theme="light")
    tour = Tour(app, job)
    Clock.schedule_interval(tour.step, 0)
    app.run()
    print(json.dumps(tour.seen))


if __name__ == "__main__":
    main()

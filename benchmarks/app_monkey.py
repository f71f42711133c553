"""The real app with a monkey at it: what `benchmarks/app_soak.py` starts. JSON lines on stdout.

Gestures at random places, other pages, sources, bundles, themes; the window is taken away and given
back. Nothing is avoided: what a finger can hit may be hit.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TELL_S = 5.0
NO_X_CLIPBOARD = "Cutbuffer:"  # kivy says so once where no X server is
QUIET_S = 20.0  # the longest that the last frames may take once nothing new comes


class Faults:
    """Every exception and error line of the process, from whatever thread."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def watch(self) -> None:
        """Listen to kivy's event loop, to threads and to the log."""
        from kivy.base import ExceptionHandler, ExceptionManager

        faults = self

        class Handler(ExceptionHandler):  # type: ignore[misc]  # kivy has no types
            def handle_exception(self, inst: Exception) -> Any:
                faults.note(f"event loop: {inst!r}")
                return ExceptionManager.PASS

        class Lines(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if not record.getMessage().startswith(NO_X_CLIPBOARD):
                    faults.note(f"log: {record.getMessage()}")

        ExceptionManager.add_handler(Handler())
        threading.excepthook = lambda args: self.note(f"thread: {args.exc_value!r}")
        logging.getLogger().addHandler(Lines(logging.ERROR))

    def note(self, what: str) -> None:
        """One more."""
        import traceback

        self.seen.append(what)
        print(what, traceback.format_exc(), file=sys.stderr, flush=True)


class Monkey:
    """Does something every few frames until `end_s`; then waits for the last frame and stops."""

    def __init__(self, app: Any, options: argparse.Namespace, faults: Faults) -> None:
        self.app, self.options, self.faults = app, options, faults
        self.draw = random.Random(options.seed)
        self.done: dict[str, int] = {}
        self.end_s: float | None = None  # None: warming up
        self.measuring = False
        self.next_s = self.tell_s = 0.0
        self.acts: list[tuple[int, Callable[[], object]]] = [
            (12, self.touch),
            (3, self.drag),
            (3, self.page),
            (2, self.source),
            (1, self.bundle),
            (1, self.theme),
            (1, self.back),
            (1, self.away),
            (2, self.offload),
        ]

    def step(self, _dt: float) -> None:
        """Once a frame."""
        now = time.monotonic()
        if self.end_s is None:
            self.warm_up(now)
            return
        if now >= self.tell_s:
            self.tell_s = now + TELL_S
            self.tell()
        if now >= self.end_s:
            self.finish(now)
        elif now >= self.next_s:
            self.next_s = now + self.draw.uniform(0.02, 0.6)
            weights = [weight for weight, _ in self.acts]
            act = self.draw.choices(self.acts, weights)[0][1]
            name = getattr(act, "__name__", "act")
            self.done[name] = self.done.get(name, 0) + 1
            act()

    def warm_up(self, now: float) -> None:
        """Measure the first bundle in every runtime once: their libraries, PyTorch's among them,
        are loaded when they are first needed, and that is no growth."""
        from app.benchmark.state import Phase
        from app.pages import PageName

        application = self.app.application
        benchmark = application.benchmark
        if self.measuring:
            if benchmark.state.phase is not Phase.RUNNING:
                self.end_s = now + self.options.seconds
        elif application.navigation.state.page is not PageName.BENCHMARK:
            if application.live.state.bundle is not None:
                application.navigation.go(PageName.BENCHMARK)
        elif benchmark.state.planned:
            benchmark.set_runs(10)
            benchmark.start()
            self.measuring = benchmark.state.phase is Phase.RUNNING

    def tell(self) -> None:
        """Where it stands, as one line."""
        import psutil

        print(json.dumps(self.described(psutil.Process().memory_info().rss)), flush=True)

    def described(self, rss: int) -> dict[str, Any]:
        """For the line."""
        counts = self.app.application.live.counts()
        return {
            "rss": rss,
            "handed": counts.handed,
            "answered": counts.answered,
            "skipped": counts.skipped,
            "failed": counts.failed,
            "faults": len(self.faults.seen),
            "first_faults": self.faults.seen[:5],
            "threads": threading.active_count(),
            "done": self.done,
        }

    def finish(self, now: float) -> None:
        """Nothing new; when every frame has become something, stop."""
        assert self.end_s is not None
        live = self.app.application.live
        live.leave()
        counts = live.counts()
        settled = counts.handed == counts.answered + counts.skipped + counts.failed
        if settled or now > self.end_s + QUIET_S:
            self.tell()
            self.app.stop()

    def place(self) -> tuple[float, float]:
        """Anywhere in the window."""
        from kivy.core.window import Window

        return self.draw.uniform(0, Window.width), self.draw.uniform(0, Window.height)

    def touch(self) -> None:
        """A tap anywhere."""
        from kivy.tests.common import UnitTestTouch

        touch = UnitTestTouch(*self.place())
        touch.touch_down()
        touch.touch_up()

    def drag(self) -> None:
        """A finger pulled from one place to another."""
        from kivy.tests.common import UnitTestTouch

        touch = UnitTestTouch(*self.place())
        touch.touch_down()
        touch.touch_move(*self.place())
        touch.touch_up()

    def page(self) -> None:
        """Another page; Live as often as all others together, since frames are answered there."""
        from app.pages import PageName

        others = [name for name in PageName if name is not PageName.LIVE]
        live = self.draw.random() < 0.5
        self.app.application.navigation.go(PageName.LIVE if live else self.draw.choice(others))

    def source(self) -> None:
        """Another source."""
        from app.live.state import SourceKind

        self.app.application.live.choose_source(self.draw.choice(list(SourceKind)))

    def bundle(self) -> None:
        """Another bundle."""
        self.app.application.open_bundle(self.draw.choice(self.options.bundles))

    def theme(self) -> None:
        """The other theme, or letters of the other size."""
        preferences = self.app.application.preferences
        if self.draw.random() < 0.7:
            preferences.change(theme="dark" if preferences.state.theme == "light" else "light")
        else:
            preferences.change(large_text=not preferences.state.large_text)

    def back(self) -> None:
        """The back button, where it leads to a page."""
        from kivy.core.window import Window

        if self.app.application.navigation.state.former:
            Window.dispatch("on_keyboard", 27, 0, "", [])

    def away(self) -> None:
        """Another app comes to the front, and goes."""
        self.app.dispatch("on_pause")
        self.app.dispatch("on_resume")

    def offload(self) -> None:
        """The server as it should be, and another mode: a tap may have forgotten both."""
        mode = self.draw.choice(["off", "auto", "force"])
        self.app.application.preferences.change(server=self.options.server, mode=mode, quota_mb=256)


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--server", required=True)
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    os.environ["KIVY_NO_ARGS"] = "1"
    from kivy.config import Config

    Config.set("graphics", "width", "412")
    Config.set("graphics", "height", "892")
    from kivy.clock import Clock

    from app.kivy_app import HeadtailApp

    app = HeadtailApp(bundle=options.bundles[0], server="", photos=None, folder=options.folder)
    app.application.preferences.change(guide_done=True, server=options.server, mode="auto")
    faults = Faults()
    faults.watch()
    monkey = Monkey(app, options, faults)
    Clock.schedule_interval(monkey.step, 0)
    app.run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

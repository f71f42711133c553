"""Runs the app until it shows given words: `python -m tests.app.arm64_guest JOB`.

JOB is JSON: `arguments` of the app, the `words` to wait for (each somewhere on the screen),
`pictures` of the first frame and of the last, a package to `hide`, `limit_s`. One JSON line tells
what was seen and with which runtime modules. It runs under emulation and, for comparison, on the
host.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

LOOK_S = 0.25  # walking the widget tree in emulation takes a while
CALM_S = 1.5  # longer than any animation of the app
CALM_LOOKS = 8  # and drawn so often, since an animation moves only when something is drawn
FPS = 10  # what is drawn in between shows nothing more


class Watch:
    """Looks at the window now and then, and ends the app."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.end = time.monotonic() + job["limit_s"]
        self.shown = float("inf")  # when all words were there
        self.calm = 0  # looks since then
        self.texts: list[str] = []

    def look(self, _dt: float) -> None:
        from kivy.app import App

        from tests.app.observed import seen

        app = App.get_running_app()
        first = not self.texts
        self.texts = [item["text"] for item in seen(app)["items"]]
        now = time.monotonic()
        if first and self.texts:
            self.picture(self.job["pictures"][0])
        if all(any(word in text for text in self.texts) for word in self.job["words"]):
            self.shown = min(self.shown, now)
            self.calm += 1
        if now > self.end or (self.calm > CALM_LOOKS and now > self.shown + CALM_S):
            self.picture(self.job["pictures"][1])
            app.stop()

    def picture(self, path: str) -> None:
        from kivy.core.window import Window

        written = Window.screenshot(name=path)  # kivy adds a number
        Path(written).replace(path)


def main() -> int:
    """Run one job."""
    watch = Watch(json.loads(sys.argv[1]))
    sys.modules[watch.job["hide"]] = None  # type: ignore[assignment]  # as if not installed
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not come before the answer
    from kivy.config import Config

    Config.set("graphics", "maxfps", str(FPS))
    from kivy.clock import Clock

    Clock.schedule_interval(watch.look, LOOK_S)
    from app.main import main as run

    code = run(watch.job["arguments"])
    loaded = [name for name in sys.modules if name.startswith("headtail.runtimes.")]
    facts = {"machine": platform.machine(), "texts": watch.texts, "loaded": sorted(loaded)}
    told.write(json.dumps(facts) + "\n")
    return code


if __name__ == "__main__":
    raise SystemExit(main())

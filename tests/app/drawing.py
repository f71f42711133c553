"""Runs the app for `tests.app.drawn`: one JSON job on stdin, one JSON line on stdout.

A job is a list of scenes, drawn one after the other in one window. Boxes are in dp, with their
origin at the bottom left of the window.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.app.lull import Lull

STILL = 4  # frames without news between two gestures and before the picture
PRESSED = 8  # frames more after a key, which presses for six
PATIENCE = 3000  # frames; at 60 a second 50 s
MAX_STOPS = 300  # of the Tab key, before it is taken for endless
KEYS = {"tab": 9, "enter": 13, "escape": 27, "right": 275, "left": 276}


class Artist:
    """Steps once a frame: open the page, gesture, gesture, ..., picture, next scene."""

    def __init__(self, app: Any, job: dict[str, Any]) -> None:
        self.app = app
        self.job = job
        self.scenes: list[dict[str, Any]] = job["scenes"]
        self.told: list[dict[str, Any]] = []
        self.steps: list[Any] = []
        self.stops: list[str] = []  # of the last walk
        self.lull = Lull(app.application)
        self.frames = self.made = 0

    def step(self, _dt: float) -> None:
        self.frames += 1
        self.lull.look(calm=self.calm())
        if self.frames > PATIENCE:
            self.app.stop()
        elif self.lull.lasted < STILL:
            return
        elif self.steps:
            self.lull.lasted = 0
            self.do(self.steps.pop(0))
        elif len(self.told) < len(self.scenes):
            self.lull.lasted = 0
            self.begin(self.scenes[len(self.told)])
        else:
            self.app.stop()

    def calm(self) -> bool:
        application = self.app.application
        settings, live = application.settings.state, application.live.state
        made, self.made = self.made, len(self.widgets())
        if made != self.made:  # rows are still being made, some a frame
            return False
        return not settings.busy and settings.about is not None and not live.busy

    def begin(self, scene: dict[str, Any]) -> None:
        from app.pages import PageName

        application = self.app.application
        look = {"theme": "dark" if scene["dark"] else "light", "large_text": scene["large"]}
        self.stops = []
        application.guide.skip()
        application.settings.refuse_link()
        application.settings.dismiss()
        application.preferences.change(server="")
        for server in application.servers.known():
            application.servers.forget(server.address)
        application.preferences.change(**look, **scene["preferences"])
        application.settings.open_server("")
        application.settings.enter()
        application.navigation.go(PageName[scene["page"]])
        self.steps = [*scene["gestures"], scene]

    def do(self, step: Any) -> None:
        if isinstance(step, dict):
            self.finish(step)
        else:
            getattr(self, f"do_{step[0]}")(*step[1:])

    def do_tap(self, text: str) -> None:
        from kivy.tests.common import UnitTestTouch

        widget = self.find(text)
        touch = UnitTestTouch(*widget.to_window(*widget.center))
        touch.touch_down()
        touch.touch_up()

    def do_focus(self, text: str) -> None:
        self.find(text).focus = True

    def do_key(self, name: str) -> None:
        press(name)
        self.lull.lasted = -PRESSED

    def do_type(self, hint: str, text: str) -> None:
        field = next(w for w in self.widgets() if getattr(w, "hint_text", "") == hint)
        field.focus = True
        field.insert_text(text)

    def do_scroll(self, share: float) -> None:
        self.app.shell.page.ids.scroll.scroll_y = share

    def do_link(self, link: str) -> None:
        self.app.application.open_link(link)

    def do_drop(self, text: str) -> None:
        from kivy.core.window import Window

        Window.dispatch("on_drop_file", text.encode(), 0, 0)

    def do_guide(self) -> None:
        self.app.application.guide.open()

    def do_frames(self) -> None:
        from tests.app.offloading.frames import play

        play(self.app.application.offloading)

    def do_walk(self) -> None:
        """Press Tab until a control has the focus for the second time."""
        stops: list[Any] = []
        while len(stops) < MAX_STOPS:
            press("tab")
            now = focused(self.widgets())
            if now is None or now in stops:
                break
            stops.append(now)
        self.stops = [spoken(widget) for widget in stops]

    def finish(self, scene: dict[str, Any]) -> None:
        from kivy.core.window import Window

        path = Path(scene["picture"])
        written = Window.screenshot(name=str(path.with_suffix(".png")))  # kivy adds a number
        Path(written).replace(path)
        now = focused(self.widgets())
        self.told.append(
            {
                "texts": [w.text for w in self.widgets() if getattr(w, "text", "")],
                "controls": [
                    {"name": spoken(w), "box": box(w)} for w in self.widgets() if control(w)
                ],
                "cut_off": [w.text for w in self.widgets() if cut_off(w)],
                "page": self.app.application.navigation.state.page.value,
                "theme": self.app.theme.name,
                "focus": None if now is None else spoken(now),
                "stops": self.stops,
            }
        )

    def find(self, text: str) -> Any:
        named = [w for w in self.widgets() if control(w) and spoken(w) == text]
        assert named, f"no control {text!r}, there are {[spoken(w) for w in self.widgets()]}"
        return named[0]

    def widgets(self) -> list[Any]:
        return list(self.app.root.walk(restrict=True))


def press(name: str) -> None:
    """One key, down and up."""
    from kivy.core.window import Window

    code = KEYS[name]
    if not Window.dispatch("on_key_down", code, 0, None, []):
        Window.dispatch("on_keyboard", code, 0, None, [])
    Window.dispatch("on_key_up", code, 0)


def focused(widgets: list[Any]) -> Any:
    """What has the focus."""
    return next((widget for widget in widgets if getattr(widget, "focus", False)), None)


def control(widget: Any) -> bool:
    """Whether a person can press it or type into it."""
    from kivy.uix.behaviors import FocusBehavior

    return isinstance(widget, FocusBehavior) and widget.is_focusable and not widget.disabled


def spoken(widget: Any) -> str:
    """What the control is called on screen."""
    words = ("text", "name", "hint_text")
    return next((value for word in words if (value := getattr(widget, word, ""))), "") or str(
        type(widget).__name__
    )


def cut_off(widget: Any) -> bool:
    """Whether a label's text is wider than the label and is not shortened on purpose."""
    from kivy.uix.label import Label

    if not isinstance(widget, Label) or not widget.text or widget.shorten or widget.width < 1:
        return False
    return bool(widget.texture_size[0] > widget.width + 1)


def box(widget: Any) -> list[float]:
    """Left, bottom, width, height in dp."""
    from kivy.metrics import dp

    x, y = widget.to_window(widget.x, widget.y)
    return [value / dp(1) for value in (x, y, widget.width, widget.height)]


def draw(artist_of: Callable[[Any, dict[str, Any]], Artist] = Artist) -> None:
    """Run one job by an artist of the app and the job."""
    job = json.loads(sys.stdin.read())
    from kivy.config import Config

    Config.set("graphics", "width", str(job["size"][0]))
    Config.set("graphics", "height", str(job["size"][1]))
    Config.set("graphics", "maxfps", "60")
    from kivy.clock import Clock

    from app.kivy_app import HeadtailApp

    folder = Path(os.environ["KIVY_HOME"]) / "own"
    app = HeadtailApp(bundle=None, server="", photos=None, folder=folder)
    app.application.preferences.change(guide_done=True)
    artist = artist_of(app, job)

    def begin(_dt: float) -> None:
        app.application.settings.enter()  # asks the machine, which every scene waits for
        Clock.schedule_interval(artist.step, 0)

    Clock.schedule_once(begin)
    app.run()
    print(json.dumps(artist.told))


if __name__ == "__main__":
    draw()

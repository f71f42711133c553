"""Runs the app for `tests.app.offscreen`: one JSON job on stdin, one JSON line on stdout.

The line has the texts of the widget tree with their boxes (window pixels, origin at the bottom
left). Beside the picture lies `<picture>.label.png`, the texture of the best class's label.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any

SETTLED = {
    "result": lambda state: state.result is not None and not state.busy,
    "problem": lambda state: state.problem is not None and not state.busy,
    "empty": lambda state: not state.busy,
}
STILL = 5  # frames without a change before the picture
PATIENCE = 3000  # frames; at 60 a second 50 s
GL_SAMPLES, GL_SAMPLES_PASSED, GL_QUERY_RESULT = 0x80A9, 0x8914, 0x8866


class Driver:
    """Steps once a frame: settle, gesture, settle, ..., picture, stop."""

    def __init__(self, app: Any, job: dict[str, Any]) -> None:
        self.app = app
        self.job = job
        self.gestures = list(job["gestures"])
        self.frames = self.still = 0
        self.answer: dict[str, Any] = {"gave_up": True}

    def step(self, _dt: float) -> None:
        self.frames += 1
        calm = SETTLED[self.job["settled"]](self.app.application.live.state) and not self.moving()
        self.still = self.still + 1 if calm else 0
        if self.frames > PATIENCE:
            self.answer["state"] = repr(self.app.application.live.state)[:2000]
            self.app.stop()
        elif self.still < STILL:
            return
        elif self.gestures:
            self.still = 0
            self.gesture(self.gestures.pop(0))
        else:
            self.answer = self.report()
            self.app.stop()

    def moving(self) -> bool:
        rows = self.app.shell.page.ids.bars.children
        thumbnails = [card.thumbnail for card in self.app.application.live.state.photos]
        return None in thumbnails or any(abs(row.shown - row.fraction) > 1e-3 for row in rows)

    def gesture(self, gesture: str | list[str]) -> None:
        from kivy.core.window import Window
        from kivy.tests.common import UnitTestTouch

        name, text = (gesture, None) if isinstance(gesture, str) else gesture
        if name == "drop":
            Window.dispatch("on_drop_file", str(text).encode(), 0, 0)
            return
        widget = self.app.shell.page
        for part in name.split("."):
            widget = widget.ids[part]
        if text is not None:
            widget.text = text
            widget.dispatch("on_text_validate")
            return
        touch = UnitTestTouch(*widget.to_window(*widget.center))
        touch.touch_down()
        touch.touch_up()

    def report(self) -> dict[str, Any]:
        from kivy.core.clipboard import Clipboard

        root = self.app.shell.page
        self.picture(root.ids.bars)
        return {
            "texts": [_described(widget) for widget in root.walk() if getattr(widget, "text", "")],
            "bars": [_bar(row) for row in reversed(root.ids.bars.children)],
            "badge": root.ids.badge.text,
            "latency": root.ids.latency.text,
            "clipboard": Clipboard.paste(),
            "theme": self.app.theme.name,
            "thumbnails": len(root.ids.strip.children),
            "marks": root.ids.overlay.marks(),
            "whole": list(root.ids.photo.whole),
            "samples": samples(),
            "painted": painted(),
            "widgets": {name: _box(widget) for name, widget in root.ids.items()},
        }

    def picture(self, bars: Any) -> None:
        from kivy.core.window import Window

        path = Path(self.job["picture"])
        written = Window.screenshot(name=str(path.with_suffix(".png")))  # kivy adds a number
        Path(written).replace(path)
        texture = bars.children[-1].ids.name.texture
        if texture is not None:
            texture.save(f"{path}.label.png", flipped=False)


def _described(widget: Any) -> dict[str, Any]:
    return {"text": widget.text, "kind": type(widget).__name__, "box": _box(widget)}


def _bar(row: Any) -> dict[str, Any]:
    label, track = row.ids.name, row.ids.track
    return {
        "label": row.label,
        "value": row.value,
        "fraction": row.fraction,
        "hue": list(row.hue),
        "track": _box(track),
        "label_box": list(label.box),
    }


def _box(widget: Any) -> list[float]:
    x, y = widget.to_window(widget.x, widget.y)
    return [x, y, widget.width, widget.height]


def samples() -> int:
    """Samples of each pixel of the window; 0 without multisampling."""
    from kivy.graphics.opengl import glGetIntegerv

    return int(glGetIntegerv(GL_SAMPLES)[0])


def painted() -> float:
    """How often a pixel of the window is painted in one frame, on average."""
    from kivy.core.window import Window

    gl = ctypes.CDLL("libGL.so.1")
    query, found = ctypes.c_uint(), ctypes.c_uint()
    gl.glGenQueries(1, ctypes.byref(query))
    gl.glBeginQuery(GL_SAMPLES_PASSED, query)
    Window.canvas.ask_update()
    Window.dispatch("on_draw")
    gl.glEndQuery(GL_SAMPLES_PASSED)
    gl.glGetQueryObjectuiv(query, GL_QUERY_RESULT, ctypes.byref(found))
    return float(found.value / (Window.width * Window.height))


def main() -> None:
    """Run one job."""
    job = json.loads(sys.stdin.read())
    from kivy.config import Config

    Config.set("graphics", "width", str(round(job["size"][0] * job["density"])))
    Config.set("graphics", "height", str(round(job["size"][1] * job["density"])))
    Config.set("graphics", "maxfps", "60")
    from kivy.clock import Clock

    from app.kivy_app import HeadtailApp
    from app.sources.photo import photo_file

    bundle = Path(job["bundle"]) if job["bundle"] else None
    app = HeadtailApp(
        bundle=bundle, server=job["server"], photos=None, folder=Path(os.environ["KIVY_HOME"])
    )
    app.application.preferences.change(theme="dark" if job["dark"] else "light", guide_done=True)
    driver = Driver(app, job)

    def begin(_dt: float) -> None:
        app.application.live.add_photos([photo_file(Path(path)) for path in job["photos"]])
        Clock.schedule_interval(driver.step, 0)

    Clock.schedule_once(begin)
    app.run()
    print(json.dumps(driver.answer))


if __name__ == "__main__":
    main()

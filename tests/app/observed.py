"""The real app, watched: `python -m tests.app.observed ARGUMENTS OF THE APP`.

Each line on stdin is answered by one JSON line on stdout: what the window shows at that moment.
Nothing is done to the app from here; gestures come through the window system, as a person's do.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

MIN_OPACITY = 0.05  # below it nobody sees a widget


def main() -> int:
    """Run the app until its window closes or stdin ends."""
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not come between the answers
    from kivy.config import Config

    Config.set("graphics", "maxfps", "60")
    from kivy.clock import Clock

    def answer(_dt: float) -> None:
        from kivy.app import App

        told.write(json.dumps(seen(App.get_running_app())) + "\n")

    def listen() -> None:
        for _line in sys.stdin:
            Clock.schedule_once(answer)
        Clock.schedule_once(lambda _dt: _stop())

    threading.Thread(target=listen, daemon=True).start()
    from app.main import main as run

    return run(sys.argv[1:])


def seen(app: Any) -> dict[str, Any]:
    """Everything with words on it: text, class, box in pixels from the top left, usable or not."""
    from kivy.clock import Clock
    from kivy.core.window import Window

    if app is None or app.root is None:
        return {"page": "", "items": [], "fps": 0.0}
    return {
        "page": app.application.navigation.state.page.value,
        "items": list(_items(app.root, Window)),
        "fps": Clock.get_fps(),
    }


def _items(widget: Any, window: Any, usable: bool = True) -> Any:
    if widget.opacity < MIN_OPACITY:
        return
    usable = usable and not widget.disabled
    words = [getattr(widget, name, "") for name in ("text", "hint_text", "name", "label")]
    if any(isinstance(word, str) and word for word in words):
        x, y = widget.to_window(widget.x, widget.y)
        yield {
            "text": next((w for w in words if isinstance(w, str) and w), ""),
            "words": [word for word in words if isinstance(word, str)],
            "kind": type(widget).__name__,
            "box": [x, window.height - y - widget.height, widget.width, widget.height],
            "usable": usable,
        }
    for child in reversed(widget.children):
        yield from _items(child, window, usable)


def _stop() -> None:
    from kivy.app import App

    app = App.get_running_app()
    if app is not None:
        app.stop()


if __name__ == "__main__":
    raise SystemExit(main())

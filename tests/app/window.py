"""The real app in a real window: an X server of its own (Xvfb), gestures by xdotool."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.app.offscreen import missing_for_screen

__all__ = ["AppWindow", "Item", "missing_for_window"]

SIZE = (412, 892)
PATIENCE_S = 40.0
REPLY_S = 30.0


class Item(NamedTuple):
    """One thing with words on it; `box` is x, y, width, height in pixels from the top left."""

    text: str
    words: tuple[str, ...]
    kind: str
    box: tuple[float, float, float, float]
    usable: bool

    @property
    def centre(self) -> tuple[int, int]:
        x, y, width, height = self.box
        return round(x + width / 2), round(y + height / 2)


def missing_for_window() -> str:
    """Why no window can be opened here; empty if it can."""
    absent = [name for name in ("Xvfb", "xdotool") if shutil.which(name) is None]
    if absent:
        return f"{', '.join(absent)} not found: apt-get install xvfb xdotool"
    return missing_for_screen()


class AppWindow:
    """A context: the app started with `arguments`, everything of its own under `home`."""

    def __init__(self, arguments: Sequence[str], *, home: Path) -> None:
        self._arguments = list(arguments)
        self._home = home
        self._log = home / "app.log"

    def __enter__(self) -> Self:
        (self._home / "kivy").mkdir(parents=True, exist_ok=True)
        read, write = os.pipe()
        self._server = subprocess.Popen(
            [
                "Xvfb",
                "-displayfd",
                str(write),
                "-screen",
                "0",
                "800x1000x24",
                "-nolisten",
                "tcp",
                "-noreset",
            ],
            pass_fds=[write],
            stderr=subprocess.DEVNULL,
        )
        os.close(write)
        with os.fdopen(read) as number:
            display = number.readline().strip()
        assert display, "Xvfb did not start"
        self._environment = {
            **os.environ,
            "DISPLAY": f":{display}",
            "HOME": str(self._home),
            "KIVY_HOME": str(self._home / "kivy"),
            "KIVY_METRICS_DENSITY": "1",
            "KIVY_NO_ARGS": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "XDG_CONFIG_HOME": str(self._home / "config"),
        }
        self._environment.pop("SDL_VIDEODRIVER", None)
        with self._log.open("wb") as log:
            self.app = subprocess.Popen(
                [sys.executable, "-m", "tests.app.observed", *self._arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment,
                text=True,
                bufsize=1,
            )
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self.app, self._server):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        for pipe in (self.app.stdin, self.app.stdout):
            if pipe is not None:
                pipe.close()

    def see(self) -> tuple[str, list[Item]]:
        """The page on screen, and everything with words on it."""
        assert self.app.stdin is not None
        assert self.app.stdout is not None
        self.app.stdin.write("?\n")
        ready, _, _ = select.select([self.app.stdout], [], [], REPLY_S)
        line = self.app.stdout.readline() if ready else ""
        assert line, f"the app is gone or hangs ({self.app.poll()}): {self.log()}"
        told: dict[str, Any] = json.loads(line)
        items = [
            Item(i["text"], tuple(i["words"]), i["kind"], tuple(i["box"]), i["usable"])
            for i in told["items"]
        ]
        return told["page"], items

    def until(self, reached: Callable[[str, list[Item]], Any], why: str) -> Any:
        """Look until `reached(page, items)` gives something true; that."""
        end = time.monotonic() + PATIENCE_S
        while True:
            page, items = self.see()
            found = reached(page, items)
            if found:
                return found
            if time.monotonic() > end:
                words = sorted({item.text for item in items if item.usable})
                raise AssertionError(f"{why}: on {page} there is {words}; {self.log()}")
            time.sleep(0.05)  # between looks, not instead of them

    def find(self, words: str, *, kind: str = "") -> Item:
        """The usable thing that says `words` (its whole text, hint or name), once it is there and
        stands still: nobody hits what a page is still laying out."""
        last: list[Item | None] = [None]

        def there(_page: str, items: list[Item]) -> Item | None:
            fitting = (i for i in items if words in i.words and i.usable)
            found = next((i for i in fitting if kind in {"", i.kind}), None)
            still = found is not None and found == last[0]
            last[0] = found
            return found if still else None

        found: Item = self.until(there, f"nothing says {words!r}")
        return found

    def text(self, part: str) -> str:
        """The text that contains `part`, once it is there."""

        def there(_page: str, items: list[Item]) -> str:
            return next((item.text for item in items if part in item.text), "")

        found: str = self.until(there, f"nothing contains {part!r}")
        return found

    def click(self, words: str, *, kind: str = "") -> None:
        """Press what says `words`."""
        x, y = self.find(words, kind=kind).centre
        self._do("mousemove", "--window", self._window(), str(x), str(y), "click", "1")

    def enter(self, hint: str, text: str) -> None:
        """Type into the field with that hint or content, replacing what is there; then Enter."""
        self.click(hint)
        self._do("key", "ctrl+a")
        self._do("type", "--delay", "2", text)
        self._do("key", "Return")

    def key(self, name: str) -> None:
        """Press a key, by its X name."""
        self._do("key", name)

    def log(self) -> str:
        """The end of what the app wrote on stderr."""
        return self._log.read_text(errors="replace")[-2000:]

    def _window(self) -> str:
        """The X server's number of the app's window, which SDL put where it liked."""
        return self._do("search", "--onlyvisible", "--pid", str(self.app.pid)).split()[-1]

    def _do(self, *arguments: str) -> str:
        done = subprocess.run(
            ["xdotool", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=REPLY_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

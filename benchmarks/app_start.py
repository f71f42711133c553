"""How long the app takes from the start of its process to its first drawn screen, offscreen.

    PYTHONPATH=. python benchmarks/app_start.py

Beside it, A B A B, a kivy window with one label: the floor that every kivy app has. Both with their
bytecode and kivy's settings in place, as from the second start on. Ends with one JSON line.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 11
GOAL_S = 2.0
# The clock is the machine's, so it can be read in one process and compared in another
# (clock_gettime(2), CLOCK_MONOTONIC). kivy draws, flips, and then tells whoever is bound.
WATCH = """
import sys, time
from kivy.clock import Clock

def watch(_dt):
    from kivy.base import stopTouchApp
    from kivy.core.window import Window

    def flipped(_window):
        if not done and Window.children:
            done.append(True)
            print(time.monotonic(), time.process_time(), file=sys.__stdout__, flush=True)
            stopTouchApp()

    done = []
    Window.bind(on_flip=flipped)

Clock.schedule_once(watch)
"""
APP = f"{WATCH}\nfrom app.main import main\nmain([])"
FLOOR = f"""{WATCH}
from kivy.base import runTouchApp
from kivy.uix.label import Label
runTouchApp(Label(text="empty"))"""


def seconds(program: str, home: str) -> tuple[float, float]:
    """(wall, processor) time until its first frame is on the (unseen) screen; the wall's from
    before the process exists.
    """
    kept = {key: value for key, value in os.environ.items() if key != "DISPLAY"}
    own = {"HOME": home, "KIVY_HOME": home, "KIVY_NO_ARGS": "1", "KIVY_NO_CONSOLELOG": "1"}
    own |= {"SDL_VIDEODRIVER": "offscreen", "PYTHONPATH": str(Path(__file__).parents[1])}
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**kept, **own},
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
        timeout=60,
    )
    end, processor = map(float, done.stdout.splitlines()[-1].split())
    return end - start, processor


def main() -> None:
    """Measure both, alternating, after one run of each that does not count."""
    with tempfile.TemporaryDirectory() as home:
        seconds(APP, home), seconds(FLOOR, home)
        pairs = [(seconds(APP, home), seconds(FLOOR, home)) for _ in range(RUNS)]
    app = [wall for (wall, _), _ in pairs]
    floor = [wall for _, (wall, _) in pairs]
    processor = statistics.median(spent for (_, spent), _ in pairs)
    load_1m = os.getloadavg()[0]
    print(
        json.dumps(
            {
                "benchmark": "app_start",
                "first_screen_s_p50": round(statistics.median(app), 3),
                "first_screen_s_min": round(min(app), 3),
                "first_screen_s_max": round(max(app), 3),
                "first_screen_processor_s_p50": round(processor, 3),
                "kivy_with_a_label_s_p50": round(statistics.median(floor), 3),
                "runs": RUNS,
                "timing_kind": "host",
                "goal_s": GOAL_S,
                "met": statistics.median(app) <= GOAL_S,
                "load_1m": round(load_1m, 1),
                "cores": os.cpu_count(),
                "python": platform.python_version(),
            }
        )
    )


if __name__ == "__main__":
    main()

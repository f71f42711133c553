"""The Live page under load: UI rate, our callbacks on the UI thread, and what the app adds.

    python benchmarks/app_live.py BUNDLE [BUNDLE ...] [--seconds 10]

For each bundle the whole app is drawn offscreen (llvmpipe) while a source gives 640 x 480 frames
faster than they are answered, so that inference never rests:

- `ui_fps`: frames drawn per second; the goal is 50, and kivy's `maxfps` of 60 lets up to about 70
  through. A turn of the event loop in which nothing changed draws nothing and does not count;
- `processor_ms`: processor time of each frame drawn, of the UI's thread and of llvmpipe's, which a
  graphics chip would spare (Linux);
- `callbacks_ms`: time per frame that the event loop spends in callbacks (ours, and those of kivy
  that ours cause, such as layouts and texts), without drawing and sleeping; the goal is a p99 below
  16;
- `overhead_drawing_ms`: then the source waits for each answer before the next frame; from the
  frame's arrival to its result, less the runtime's own time. Each draw of llvmpipe holds Python's
  lock while the processor paints, which a graphics chip does by itself;
- `overhead_ms`: the same without a window. The goal is a p50 of 3.

Host figures. Ends with one JSON line, also written to results/app_live.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

RESULT = Path(__file__).with_name("results") / "app_live.json"
WARM_S = 3.0
LOCK_STEPS = 150
PATIENCE_S = 5.0
PACE_S = 1 / 60  # a fast camera


def main() -> int:
    """Measure each bundle in this process, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    os.environ.pop("DISPLAY", None)
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {
            "SDL_VIDEODRIVER": "offscreen",
            "KIVY_HOME": home,
            "KIVY_NO_ARGS": "1",
            "KIVY_LOG_MODE": "PYTHON",
        }
        bare = [bare_overheads(bundle) for bundle in options.bundles]
        figures = Rig(options.bundles, options.seconds, Path(home)).run()
    for found, overheads in zip(figures.values(), bare, strict=True):
        found["overhead_ms"] = quantiles(sorted(overheads))
    record = {"benchmark": "app_live", "timing_kind": "host", "bundles": figures, **machine()}
    RESULT.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record))
    return 0


def machine() -> dict[str, Any]:
    """What it was measured on."""
    import platform

    return {
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load_average": [round(load, 1) for load in os.getloadavg()],  # what else ran
    }


def bare_overheads(bundle: Path) -> list[float]:
    """From frame to result less the runtime's time, in ms, with nothing drawn."""
    from app.live.inference import Inference
    from app.live.pipeline import Pipeline
    from app.live.request import Choices, Request
    from app.live.state import Answered
    from app.platforms import find_platform
    from app.servers import Servers
    from app.sources.base import SourceFrame

    told: queue.Queue[Any] = queue.Queue()
    pipeline = Pipeline(
        Inference(find_platform("linux").runtimes, servers=Servers(None)), tell=told.put
    )
    pipeline.ask(Request(1, 1, bundle, Choices()))
    overheads = []
    for number, pixels in enumerate(frames_of() * 9):
        started = time.perf_counter()
        pipeline.hand_in(1, SourceFrame(pixels, time.monotonic(), number))
        while not isinstance(event := told.get(timeout=60), Answered):
            pass
        overheads.append(event.result.frame_ms - event.result.local_ms)
        assert event.result.frame_ms <= (time.perf_counter() - started) * 1e3
    pipeline.stop()
    return overheads[10:]


def frames_of() -> tuple[Any, ...]:
    """A few frames of the demo pattern, so that making them costs nothing."""
    from app.sources.synthetic import draw_pattern

    return tuple(draw_pattern(10 * number) for number in range(18))


def thread_times() -> dict[str, float]:
    """Milliseconds of processor time that the UI's thread and llvmpipe's had so far."""
    spent = {"ui": time.thread_time() * 1e3, "drawing": 0.0}
    for task in Path("/proc/self/task").glob("*"):
        if (task / "comm").read_text().startswith("llvmpipe"):
            spent["drawing"] += int((task / "schedstat").read_text().split()[0]) / 1e6
    return spent


class Fast:
    """A camera that gives 60 frames a second, or, in step, one after each answer."""

    name, still = "fast", False

    def __init__(self) -> None:
        self.in_step = False
        self.answered = threading.Event()
        self.handed_s = 0.0
        self._frames = frames_of()
        self._stopping = threading.Event()

    def start(self, deliver: Callable[[Any], None], failed: Callable[[Exception], None]) -> None:
        """See `FrameSource.start`."""
        self._stopping = threading.Event()
        threading.Thread(target=self._run, args=(deliver, self._stopping), daemon=True).start()

    def stop(self) -> None:
        """See `FrameSource.stop`."""
        self._stopping.set()

    def _run(self, deliver: Callable[[Any], None], stopping: threading.Event) -> None:
        from app.sources.base import SourceFrame

        number, due_s = 0, time.perf_counter()
        while not stopping.wait(max(0.0, due_s - time.perf_counter())):
            due_s = max(due_s + PACE_S, time.perf_counter())
            if self.in_step and number:
                self.answered.wait(PATIENCE_S)
            self.answered.clear()
            self.handed_s = time.perf_counter()
            pixels = self._frames[number % len(self._frames)]
            deliver(SourceFrame(pixels, time.monotonic(), number))
            number += 1


class Rig:
    """The app with a fast camera; a script runs on its clock and stops it."""

    def __init__(self, bundles: list[Path], seconds: float, folder: Path) -> None:
        self.bundles, self.seconds, self.folder = bundles, seconds, folder
        self.source = Fast()
        self.figures: dict[str, Any] = {}
        self.callbacks: list[float] = []
        self.flips = 0
        self.overheads: list[float] = []

    def run(self) -> dict[str, Any]:
        """All figures, by bundle."""
        from kivy.config import Config

        Config.set("graphics", "width", "412")
        Config.set("graphics", "height", "892")
        Config.set("graphics", "maxfps", "60")
        from kivy.clock import Clock

        from app.kivy_app import HeadtailApp
        from app.platforms import PLATFORMS

        PLATFORMS["linux"] = dataclasses.replace(PLATFORMS["linux"], camera=lambda: self.source)
        app = HeadtailApp(bundle=None, server="", photos=None, folder=self.folder)
        app.application.preferences.change(guide_done=True)
        self._watch(Clock, app.application.live)
        script = self._script(app)
        Clock.schedule_interval(lambda _dt: next(script, None), 0)
        app.run()
        return self.figures

    def _watch(self, clock: Any, live: Any) -> None:
        post_idle, tick_draw = clock.post_idle, clock.tick_draw
        pipeline_tell = live._pipeline._tell

        def timed_idle(*arguments: Any) -> Any:
            started = time.perf_counter()
            result = post_idle(*arguments)
            self.callbacks.append((time.perf_counter() - started) * 1e3)
            return result

        def timed_draw() -> None:
            started = time.perf_counter()
            tick_draw()
            if self.callbacks:
                self.callbacks[-1] += (time.perf_counter() - started) * 1e3

        def tell(event: Any) -> None:
            result = getattr(event, "result", None)
            if result is not None:
                took_ms = (time.perf_counter() - self.source.handed_s) * 1e3
                self.overheads.append(took_ms - result.local_ms)
                self.source.answered.set()
            pipeline_tell(event)

        clock.post_idle, clock.tick_draw = timed_idle, timed_draw
        live._pipeline._tell = tell

    def _script(self, app: Any) -> Iterator[None]:
        from kivy.core.window import Window

        from app.live.state import SourceKind

        Window.bind(on_flip=self._flipped)
        live = app.application.live
        for bundle in self.bundles:
            self.source.in_step = False
            live.open_bundle(bundle)
            live.choose_source(SourceKind.CAMERA)
            yield from self._until(lambda: live.state.result is not None, PATIENCE_S * 4)
            yield from self._until(lambda: False, WARM_S)
            before = live.state.readings.counts
            self.callbacks.clear()
            spent_before = thread_times()
            self.flips, started = 0, time.perf_counter()
            yield from self._until(lambda: False, self.seconds)
            spent_s = time.perf_counter() - started
            after = live.state.readings.counts
            flips, spent_after = self.flips, thread_times()
            callbacks = sorted(self.callbacks)
            self.source.in_step = True
            yield from self._until(lambda: False, 1.0)
            self.overheads.clear()
            yield from self._until(lambda: len(self.overheads) >= LOCK_STEPS, PATIENCE_S * 12)
            state = live.state
            self.figures[state.bundle.name] = {
                "runtime": f"{state.bundle.runtime} {state.bundle.version}",
                "ui_fps": round(flips / spent_s, 1),
                "processor_ms": {
                    name: round((spent_after[name] - spent_before[name]) / flips, 2)
                    for name in spent_after
                },
                "answers_per_s": round((after.answered - before.answered) / spent_s, 1),
                "frames_per_s": round((after.handed - before.handed) / spent_s, 1),
                "callbacks_ms": quantiles(callbacks),
                "over_16_ms": sum(took > 16 for took in callbacks),
                "overhead_drawing_ms": quantiles(sorted(self.overheads)),
                "local_ms_p50": round(state.readings.p50_ms, 2),
            }
        app.stop()

    def _flipped(self, *_: object) -> None:
        self.flips += 1

    def _until(self, reached: Callable[[], bool], limit_s: float) -> Iterator[None]:
        end = time.perf_counter() + limit_s
        while not reached() and time.perf_counter() < end:
            yield


def quantiles(ordered: list[float]) -> dict[str, float | int]:
    """Nearest-rank percentiles of sorted samples."""

    def rank(percent: float) -> float:
        return round(ordered[max(0, -(-int(len(ordered) * percent) // 100) - 1)], 3)

    return {"n": len(ordered), "p50": rank(50), "p95": rank(95), "p99": rank(99)}


if __name__ == "__main__":
    sys.exit(main())

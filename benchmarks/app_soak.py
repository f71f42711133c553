"""Half an hour of abuse: does the app stay up, answer every frame and keep its memory?

    PYTHONPATH=. python benchmarks/app_soak.py A.bundle B.bundle [--minutes 30] [--seed 1]

The real app, drawn offscreen, with a monkey at it (`benchmarks/app_monkey.py`), beside a real
companion server that is killed with -9 and started again at random. The time begins once every
runtime was used. Goals: no exception anywhere in the process; no frame without an answer (or
skipped for a newer frame); resident memory at the end at most 5 % above that after the first fifth.
Ends in one JSON line; a run of 30 minutes is recorded in `benchmarks/results/app_soak.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.server_rig import OurServer, commit, python_path, versions

RESULT = Path(__file__).with_name("results") / "app_soak.json"
RECORDED_FROM_MIN = 30.0
WARM_SHARE = 0.2  # of the time, after which memory is looked at first
WINDOW_SHARE = 0.1  # of the time, over which a median is taken
MAX_GROWTH = 0.05
START_S = 300.0  # for warming up and for ending


def main() -> int:
    """Soak, and judge."""
    parser = argparse.ArgumentParser(description="A long run of the app under a monkey")
    parser.add_argument("bundles", nargs=2, type=Path)
    parser.add_argument("--minutes", type=float, default=RECORDED_FROM_MIN)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headtail-soak-") as folder:
        told, kills, code = _soak(options, Path(folder))
    figures = _judged(told, kills, code) | {
        "minutes": options.minutes,
        "seed": options.seed,
        "timing_kind": "host",
        "commit": commit(),
        "python": platform.python_version(),
        "versions": versions(),
    }
    if options.minutes >= RECORDED_FROM_MIN:
        RESULT.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps({"benchmark": "app_soak", **figures}))
    return 0 if all(figures["goals"].values()) else 1


def _soak(options: argparse.Namespace, folder: Path) -> tuple[list[dict[str, Any]], int, int]:
    """What the app told, how often the server was killed, and the app's exit status."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    stop = threading.Event()
    kills: list[float] = []
    server = threading.Thread(target=_serve, args=(options, port, stop, kills))
    server.start()
    try:
        told, code = _run_app(options, port, folder)
    finally:
        stop.set()
        server.join()
    return told, len(kills), code


def _serve(
    options: argparse.Namespace, port: int, stop: threading.Event, kills: list[float]
) -> None:
    """A server at `port`, killed at random and started again a while later, until `stop`."""
    draw = random.Random(options.seed)
    while not stop.is_set():
        server = OurServer(options.bundles)
        server.command[server.command.index("--port") + 1] = str(port)
        with server:
            if not stop.wait(draw.uniform(15, 60)):
                os.killpg(server.process.pid, 9)
                kills.append(time.monotonic())
        stop.wait(draw.uniform(1, 10))


def _run_app(
    options: argparse.Namespace, port: int, folder: Path
) -> tuple[list[dict[str, Any]], int]:
    command = [sys.executable, "-m", "benchmarks.app_monkey", *map(str, options.bundles)]
    command += ["--server", f"http://127.0.0.1:{port}", "--folder", str(folder / "app")]
    command += ["--seconds", str(options.minutes * 60), "--seed", str(options.seed)]
    (folder / "kivy").mkdir()
    screen = {"SDL_VIDEODRIVER": "offscreen", "KIVY_HOME": str(folder / "kivy")}
    log = folder / "log"
    with log.open("wb") as errors:
        app = subprocess.Popen(
            command,
            env={**os.environ, **python_path(), **screen, "KIVY_NO_CONSOLELOG": "1"},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    watchdog = threading.Timer(options.minutes * 60 + START_S, app.kill)
    watchdog.start()
    told = []
    assert app.stdout is not None
    try:
        for line in app.stdout:
            told.append({**json.loads(line), "at_s": time.monotonic()})
            print(line.rstrip()[:160], file=sys.stderr)
    finally:
        watchdog.cancel()
        code = app.wait()
    if code or told[-1]["faults"]:
        print(log.read_text(errors="replace")[-6000:], file=sys.stderr)
    return told, code


def _judged(told: list[dict[str, Any]], kills: int, code: int) -> dict[str, Any]:
    last = told[-1]
    n = len(told)
    warm, width = int(n * WARM_SHARE), max(1, int(n * WINDOW_SHARE))
    early = statistics.median(t["rss"] for t in told[warm : warm + width])
    late = statistics.median(t["rss"] for t in told[-width:])
    growth = late / early - 1
    lost = last["handed"] - last["answered"] - last["skipped"] - last["failed"]
    unanswered = lost + last["failed"]
    return {
        "frames": {name: last[name] for name in ("handed", "answered", "skipped", "failed")},
        "unanswered": unanswered,
        "exceptions": last["faults"],
        "first_exceptions": last["first_faults"],
        "exit_status": code,
        "server_kills": kills,
        "gestures": last["done"],
        "threads_at_end": last["threads"],
        "rss_mb": {"early": round(early / 1e6, 1), "late": round(late / 1e6, 1)},
        "rss_growth": round(growth, 4),
        "goals": {
            "no_exception": last["faults"] == 0 and code == 0,
            "no_unanswered_frame": unanswered == 0,
            "rss_growth_5_percent": growth <= MAX_GROWTH,
        },
    }


if __name__ == "__main__":
    sys.exit(main())

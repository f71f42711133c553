"""How long `headtail --help` takes, against the interpreter doing nothing, A B A B.

    python benchmarks/startup.py

The peer is the floor that every Python command has. Ends with one JSON line.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import time

RUNS = 15
GOAL_S = 0.3


def seconds(command: list[str]) -> float:
    """Wall time of one process."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Measure both, alternating, after one run of each that does not count."""
    ours = [sys.executable, "-m", "headtail.cli", "--help"]
    floor = [sys.executable, "-c", "pass"]
    seconds(ours), seconds(floor)
    pairs = [(seconds(ours), seconds(floor)) for _ in range(RUNS)]
    help_s, floor_s = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(
        json.dumps(
            {
                "benchmark": "startup",
                "help_s_p50": round(help_s, 4),
                "interpreter_s_p50": round(floor_s, 4),
                "runs": RUNS,
                "goal_s": GOAL_S,
                "met": help_s < GOAL_S,
                "python": platform.python_version(),
            }
        )
    )


if __name__ == "__main__":
    main()

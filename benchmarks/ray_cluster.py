"""What Ray Serve costs and gains on this machine, with one tail that is bound by compute.

    throughput   8 clients on one replica and on two, beside one and two plain processes that run
                 nothing but the same tail: what the cores allow, with ingress, proxy and clients
                 on the same cores in the Ray arms only
    latency      one client: the plain server, and one replica behind Ray's proxy
    node_kill    two nodes, 8 clients, one node killed by SIGKILL in the middle

    PYTHONPATH=. python benchmarks/ray_cluster.py [BUNDLE] [--cut ID]

Without a bundle the tail is the stack of convolutions of `tail_nets.py`.

Arms take turns within one run (A B C D A B C D), each alone: a Ray cluster that only stands by
takes a tenth of a core. The machine's load average is recorded before and after, and nothing is
judged (`met` is null) if two plain processes could not have two cores.
Batches are off (`max_batch` 1): two replicas against one would otherwise be compared at different
batch sizes. Ends in one JSON line, also in `benchmarks/results/ray.json` under the model's name:
what Ray gains depends on how its own CPU time per request compares with the tail's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ray_nodes import Nodes
from benchmarks.server_clients import Outcome, Question, closed_loop, questions
from benchmarks.server_rig import EAGER, OurServer, Subject, commit, record, versions
from benchmarks.tail_nets import CONV_STACK, write_bundle

RESULT = Path(__file__).with_name("results") / "ray.json"
NETS = Path(__file__).parents[1] / "build" / "tail_nets"
CLIENTS = 8
GOAL_RATIO, GOAL_OF_IDEAL = 1.7, 0.85
FREE_CORES = 1.6  # that two plain processes must reach together, or the machine was not ours
KILL_S = 12.0
WARM_S, FILL_S = 2.0, 1.0
BARE = """
import sys, time
from benchmarks.peers.tail import PeerTail
from benchmarks.server_rig import Subject
from pathlib import Path
subject = Subject.open(Path(sys.argv[1]), sys.argv[2])
tail = PeerTail(subject.path, subject.cut.id)
tail.run(subject.inputs[0])
print("ready", flush=True)
for line in sys.stdin:
    count, stop = 0, time.perf_counter() + float(line)
    while time.perf_counter() < stop:
        tail.run(subject.inputs[count % len(subject.inputs)])
        count += 1
    print(count, flush=True)
"""


class Bare:
    """Plain processes that run the tail in a loop, and nothing else."""

    def __init__(self, subject: Subject, count: int) -> None:
        command = [sys.executable, "-c", BARE, str(subject.path), subject.cut.id]
        self._processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(count)
        ]
        for process in self._processes:
            assert _line(process) == "ready"

    def per_s(self, count: int, seconds: float) -> float:
        """Runs per second of `count` processes side by side."""
        for process in self._processes[:count]:
            assert process.stdin is not None
            process.stdin.write(f"{seconds}\n")
            process.stdin.flush()
        return sum(int(_line(process)) for process in self._processes[:count]) / seconds

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.kill()
            process.wait()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _address(url: str) -> tuple[str, int]:
    parts = urllib.parse.urlsplit(url)
    return str(parts.hostname), int(parts.port or 80)


def _asked(url: str, asked: Sequence[Question], clients: int, seconds: float) -> list[Outcome]:
    return asyncio.run(closed_loop(_address(url), [asked] * clients, seconds=seconds))


def _per_s(outcomes: Sequence[Outcome], seconds: float) -> float:
    """Answers per second of the window, without its first second, in which the queues fill."""
    wrong = Counter(outcome.kind for outcome in outcomes if outcome.kind != 200)
    if wrong:
        raise SystemExit(f"not every request was answered: {dict(wrong)}")
    begin = min(outcome.sent for outcome in outcomes)
    done = [outcome.sent + outcome.took_s - begin for outcome in outcomes]
    return sum(FILL_S < when <= seconds for when in done) / (seconds - FILL_S)


def compared(subject: Subject, *, seconds: float, rounds: int) -> dict[str, Any]:
    """Throughput and latency; arms in turn, each alone on the machine."""
    asked = questions(subject)
    per_s: dict[str, list[float]] = {arm: [] for arm in ("bare1", "bare2", "ray1", "ray2")}
    ms: dict[str, list[list[float]]] = {"plain": [], "ray1": []}
    with ExitStack() as stack:
        bare = Bare(subject, 2)
        stack.callback(bare.close)
        for number in range(rounds):
            for count in (1, 2):
                per_s[f"bare{count}"].append(bare.per_s(count, seconds))
            with OurServer([subject.path], {**EAGER, "max_batch": "1"}) as plain:
                ms["plain"].append(_lone(str(plain.told["url"]), asked, seconds))
            for replicas in (1, 2):
                arm = f"ray{replicas}"
                with (
                    Nodes(1, cpus=2) as nodes,
                    nodes.serving([subject.path], replicas=replicas, max_batch=1) as served,
                ):
                    _asked(served.url, asked, 2, WARM_S)
                    found = _asked(served.url, asked, CLIENTS, seconds)
                    per_s[arm].append(_per_s(found, seconds))
                    if arm in ms:
                        ms[arm].append(_lone(served.url, asked, seconds))
            print(number, {arm: round(values[-1], 2) for arm, values in per_s.items()})
    return {"throughput": _throughput(per_s), "latency": _latency(ms)}


def _lone(url: str, asked: Sequence[Question], seconds: float) -> list[float]:
    """Milliseconds of one client's requests."""
    _asked(url, asked, 1, WARM_S)
    return [outcome.ms for outcome in _asked(url, asked, 1, seconds)]


def _throughput(per_s: dict[str, list[float]]) -> dict[str, Any]:
    ratio = [two / one for one, two in zip(per_s["ray1"], per_s["ray2"], strict=True)]
    ideal = [two / one for one, two in zip(per_s["bare1"], per_s["bare2"], strict=True)]
    found = {"ratio": statistics.median(ratio), "ideal": statistics.median(ideal)}
    found["of_ideal"] = found["ratio"] / found["ideal"]
    met = found["ratio"] >= GOAL_RATIO or found["of_ideal"] >= GOAL_OF_IDEAL
    return {
        "clients": CLIENTS,
        "per_s": {arm: [round(value, 2) for value in values] for arm, values in per_s.items()},
        **{name: round(value, 3) for name, value in found.items()},
        "goal": {"ratio": GOAL_RATIO, "or_of_ideal": GOAL_OF_IDEAL},
        "met": met if found["ideal"] >= FREE_CORES else None,
    }


def _latency(ms: dict[str, list[list[float]]]) -> dict[str, Any]:
    """The 5th percentile too: it is what others on the machine disturb least."""
    told: dict[str, Any] = {"clients": 1}
    for name, percent in (("p05", 5), ("p50", 50)):
        found = {
            arm: [float(np.percentile(w, percent)) for w in windows] for arm, windows in ms.items()
        }
        pairs = zip(found["plain"], found["ray1"], strict=True)
        told[f"{name}_ms"] = {
            arm: [round(value, 3) for value in values] for arm, values in found.items()
        }
        told[f"added_{name}_ms"] = round(statistics.median(r - p for p, r in pairs), 3)
    return told


def node_kill(subject: Subject) -> dict[str, Any]:
    """Outcomes of every request around the death of one of two nodes, none asked twice."""
    asked = questions(subject)
    with Nodes(2, first=42) as nodes, nodes.serving([subject.path], replicas=2) as served:
        _asked(served.url, asked, 2, 1.0)
        killed: list[float] = []
        timer = threading.Timer(
            KILL_S / 3, lambda: (nodes.kill(1), killed.append(time.perf_counter()))
        )
        timer.start()
        outcomes = _asked(served.url, asked, CLIENTS, KILL_S)
        timer.join()
    before = [o for o in outcomes if o.sent + o.took_s < killed[0]]
    after = [o for o in outcomes if o.sent > killed[0]]
    struck = [o.ms for o in outcomes if o.sent <= killed[0] <= o.sent + o.took_s]
    kinds = Counter(str(outcome.kind) for outcome in outcomes)
    return {
        "clients": CLIENTS,
        "requests": len(outcomes),
        "kinds": dict(kinds),
        "not_answered": len(outcomes) - kinds["200"],
        "on_their_way": len(struck),
        "slowest_on_their_way_ms": round(max(struck, default=0.0), 1),
        "p50_ms_before": round(statistics.median(o.ms for o in before), 2),
        "p50_ms_after": round(statistics.median(o.ms for o in after), 2),
        "slowest_after_ms": round(max(o.ms for o in after), 1),
        "met": kinds["200"] == len(outcomes),
    }


def main() -> int:
    """Measure, record, and say whether the goals are met by the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path, nargs="?")
    parser.add_argument("--cut", help="where clients enter; the one nearest to 13 KiB by default")
    parser.add_argument("--seconds", type=float, default=5.0, help="of one window")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    subject = Subject.open(options.bundle or write_bundle(CONV_STACK, NETS), options.cut)
    load = {"before": os.getloadavg()[0]}
    figures = compared(subject, seconds=options.seconds, rounds=options.rounds)
    figures["node_kill"] = node_kill(subject)
    load["after"] = os.getloadavg()[0]
    told = {
        "benchmark": "ray",
        "commit": commit(),
        "cores": os.cpu_count(),
        "load_average": load,
        "subject": subject.described(),
        "versions": versions() | {"ray": version("ray")},
        "window_s": options.seconds,
        **figures,
    }
    record(RESULT, subject.bundle.manifest.name, told)
    print(json.dumps(told))
    return 0 if figures["throughput"]["met"] and figures["node_kill"]["met"] else 1


if __name__ == "__main__":
    sys.exit(main())

"""The companion server's figures, on loopback, one section each; every section runs by itself.

    overhead   what serving adds to the bare tail call, beside FastAPI+JSON, LitServe and MLServer
    batching   throughput and p50 in batches and one by one, on a tail where batches can pay
    fairness   how evenly 64 clients are served
    cuts       clients that enter one model at different cuts, in one batch
    overload   three times what it can do, with deadlines
    soak       memory over minutes (`--soak-s`)
    faults     processes killed, disk full, bundle deleted, clock jumps, half-open connections

    PYTHONPATH=. python benchmarks/server.py BUNDLE --only overhead,batching
    PYTHONPATH=. python benchmarks/peers/install.py      # once, for `overhead`

Ends in one JSON line and puts each section into `benchmarks/results/server.json` (not with
`--quick`, whose few samples show only that the rig works). Exit code 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import server_faults, server_load, server_overhead
from benchmarks.server_rig import Subject, commit, record, versions

RESULT = Path(__file__).with_name("results") / "server.json"
NETS = Path(__file__).parents[1] / "build" / "tail_nets"
DEADLINE_MS = 250  # of a request under overload: what a camera app would still call fluent


def overhead(options: argparse.Namespace) -> dict[str, Any]:
    """One client, arms in turn."""
    subject = Subject.open(options.bundle, options.cut)
    blocks, requests = (3, 10) if options.quick else (20, 25)
    figures = server_overhead.measure(subject, blocks=blocks, requests=requests)
    server_overhead.printed(figures)
    return subject.described() | figures


def batching(options: argparse.Namespace) -> dict[str, Any]:
    """Batches against one by one."""
    seconds, rounds = (1.0, 1) if options.quick else (4.0, 5)
    figures = server_load.batching(options.nets, seconds=seconds, rounds=rounds)
    for name, by_count in figures["arms"].items():
        for count, row in by_count.items():
            print(f"{name:11} {count:3} clients  {row}")
    print(figures["points"])
    return figures


def fairness(options: argparse.Namespace) -> dict[str, Any]:
    """64 clients."""
    return server_load.fairness(options.nets, seconds=2.0 if options.quick else 20.0)


def cuts(options: argparse.Namespace) -> dict[str, Any]:
    """Two cuts of one model."""
    seconds, rounds = (1.0, 1) if options.quick else (4.0, 3)
    return server_load.mixed_cuts(options.nets, seconds=seconds, rounds=rounds)


def overload(options: argparse.Namespace) -> dict[str, Any]:
    """Three times capacity."""
    subject = Subject.open(options.bundle, options.cut)
    seconds = 4.0 if options.quick else 60.0
    return server_load.overload(subject, seconds=seconds, deadline_ms=DEADLINE_MS)


def soak(options: argparse.Namespace) -> dict[str, Any]:
    """Memory."""
    subject = Subject.open(options.bundle, options.cut)
    return server_load.soak(subject, seconds=10.0 if options.quick else options.soak_s)


def faults(options: argparse.Namespace) -> dict[str, Any]:
    """What goes wrong, from the client's side."""
    subject = Subject.open(options.bundle, options.cut)
    chosen = options.scenarios.split(",")
    return server_faults.measure(subject, chosen, rounds=1 if options.quick else 5)


SECTIONS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "overhead": overhead,
    "batching": batching,
    "fairness": fairness,
    "cuts": cuts,
    "overload": overload,
    "soak": soak,
    "faults": faults,
}


def surroundings() -> dict[str, Any]:
    """When, of what and on what: it stands in every section, since each is a run of its own."""
    now = datetime.datetime.now(datetime.UTC)
    return {
        "timing_kind": "host",
        "at": now.isoformat(timespec="seconds"),
        "commit": commit(),
        "cpus": os.cpu_count(),
        "load_average_before": round(os.getloadavg()[0], 2),
        "versions": versions(),
    }


def _check(parser: argparse.ArgumentParser, chosen: list[str], held: Mapping[str, Any]) -> None:
    if unknown := set(chosen) - set(held):
        parser.error(f"there is no {', '.join(sorted(unknown))}, but {', '.join(held)}")


def main() -> int:
    """Measure, print tables and one JSON line."""
    parser = argparse.ArgumentParser(description="Figures of the companion server")
    parser.add_argument("bundle", type=Path, help="EfficientNet-Lite0's, exported with cuts")
    parser.add_argument("--cut", help="default: the one whose frame is nearest to 13 KiB")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, by commas")
    parser.add_argument("--quick", action="store_true", help="few samples, nothing recorded")
    parser.add_argument("--soak-s", type=float, default=600.0, help="how long `soak` lasts")
    scenarios = ",".join(server_faults.SCENARIOS)
    parser.add_argument("--scenarios", default=scenarios, help="of `faults`, by commas")
    parser.add_argument("--nets", type=Path, default=NETS, help="where made bundles are kept")
    options = parser.parse_args()
    options.nets.mkdir(parents=True, exist_ok=True)
    chosen = options.only.split(",")
    _check(parser, chosen, SECTIONS)
    _check(parser, options.scenarios.split(","), server_faults.SCENARIOS)
    result, missed = {}, False
    for name in chosen:
        print(f"--- {name}", flush=True)
        about, started = surroundings(), time.perf_counter()
        figures = {**about, "quick": options.quick, **SECTIONS[name](options)}
        figures["took_s"] = round(time.perf_counter() - started, 1)
        missed = missed or not all(figures["goals"].values())
        result[name] = figures
        print(json.dumps(figures["goals"]))
        if not options.quick and (name != "faults" or options.scenarios == scenarios):
            record(RESULT, name, figures)
    print(json.dumps({"benchmark": "server", **result}))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

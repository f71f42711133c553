"""The companion server's figures, on loopback, one section each; every section runs by itself.

    overhead   what serving adds to the bare tail call, beside FastAPI+JSON, LitServe and MLServer

    PYTHONPATH=. python benchmarks/server.py BUNDLE --only overhead
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import server_overhead
from benchmarks.server_rig import Subject, commit, record, versions

RESULT = Path(__file__).with_name("results") / "server.json"


def overhead(options: argparse.Namespace) -> dict[str, Any]:
    """One client, arms in turn."""
    subject = Subject.open(options.bundle, options.cut)
    blocks, requests = (3, 10) if options.quick else (20, 25)
    figures = server_overhead.measure(subject, blocks=blocks, requests=requests)
    server_overhead.printed(figures)
    return subject.described() | figures


SECTIONS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {"overhead": overhead}


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


def main() -> int:
    """Measure, print tables and one JSON line."""
    parser = argparse.ArgumentParser(description="Figures of the companion server")
    parser.add_argument("bundle", type=Path, help="EfficientNet-Lite0's, exported with cuts")
    parser.add_argument("--cut", help="default: the one whose frame is nearest to 13 KiB")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, by commas")
    parser.add_argument("--quick", action="store_true", help="few samples, nothing recorded")
    options = parser.parse_args()
    chosen = options.only.split(",")
    if unknown := set(chosen) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    result, missed = {}, False
    for name in chosen:
        print(f"--- {name}", flush=True)
        about, started = surroundings(), time.perf_counter()
        figures = {**about, "quick": options.quick, **SECTIONS[name](options)}
        figures["took_s"] = round(time.perf_counter() - started, 1)
        missed = missed or not all(figures["goals"].values())
        result[name] = figures
        if not options.quick:
            record(RESULT, name, figures)
    print(json.dumps({"benchmark": "server", **result}))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

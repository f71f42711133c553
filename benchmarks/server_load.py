"""The companion server under many clients: batching, fairness, mixed cuts, overload, a long soak.

Batching is compared with the same server told not to (`max_batch` 1), both running, in turns of one
window each, A B A B. Clients are closed loops unless said otherwise: each asks again when it has
its answer. All answers are checked (`server_clients.py`); goals count wrong ones.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.server_clients import (
    Outcome,
    Question,
    closed_loop,
    counted,
    open_loop,
    percentiles,
    questions,
    run,
)
from benchmarks.server_rig import EAGER, OurServer, Subject
from benchmarks.tail_nets import DENSE_CLASSIFIER, write_bundle

GOAL_GAIN, GOAL_ADDED_MS, GOAL_FAIRNESS = 3.0, 10.0, 1.2
GOAL_GOODPUT, GOAL_GROWTH = 0.9, 0.05
OVERLOAD = 3.0
CONCURRENT = (8, 12, 16, 32, 64)
WARM_S = 1.0
SINGLE = {**EAGER, "max_batch": "1"}


def batching(folder: Path, *, seconds: float, rounds: int) -> dict[str, Any]:
    """Throughput and p50 with batches and one by one, from one client to 64."""
    subject = Subject.open(write_bundle(DENSE_CLASSIFIER, folder), "hidden")
    asked = questions(subject)
    arms: dict[str, dict[int, list[list[Outcome]]]] = {
        name: {count: [] for count in (1, *CONCURRENT)} for name in ("batched", "one_by_one")
    }
    with OurServer([subject.path], EAGER) as many, OurServer([subject.path], SINGLE) as one:
        servers = {"batched": many, "one_by_one": one}
        for server in servers.values():
            _window(server, asked, clients=4, seconds=WARM_S)
        for _ in range(rounds):
            for count in (1, *CONCURRENT):
                for name, server in servers.items():
                    arms[name][count].append(_window(server, asked, count, seconds))
    rows = {
        name: {count: _row(windows, seconds) for count, windows in by_count.items()}
        for name, by_count in arms.items()
    }
    return subject.described() | {"window_s": seconds, "rounds": rounds} | _batching_judged(rows)


def _batching_judged(rows: dict[str, dict[int, dict[str, Any]]]) -> dict[str, Any]:
    """Each load's gain and what it adds to the p50 of a lone client; the goal is on one of them."""
    lone_ms = rows["one_by_one"][1]["p50_ms"]
    points = {}
    for count in CONCURRENT:
        many, one = rows["batched"][count], rows["one_by_one"][count]
        points[count] = {
            "gain": round(many["per_s"] / one["per_s"], 2),
            "added_p50_ms": round(many["p50_ms"] - lone_ms, 2),
            "p50_ms_less_than_one_by_one": round(one["p50_ms"] - many["p50_ms"], 2),
        }
    wrong = sum(row["not_200"] for by_count in rows.values() for row in by_count.values())
    met = [
        count
        for count, point in points.items()
        if point["gain"] >= GOAL_GAIN and point["added_p50_ms"] <= GOAL_ADDED_MS
    ]
    goal = f">= {GOAL_GAIN} x one by one, p50 <= {GOAL_ADDED_MS} ms over a lone client's, at a load"
    return {
        "arms": rows,
        "points": points,
        "met_at_clients": met,
        "goals": {goal: bool(met), "every answer right": wrong == 0},
    }


def fairness(folder: Path, *, seconds: float) -> dict[str, Any]:
    """64 clients in a fixed window: who was served how often."""
    subject = Subject.open(write_bundle(DENSE_CLASSIFIER, folder), "hidden")
    asked = questions(subject)
    with OurServer([subject.path], EAGER) as server:
        _window(server, asked, clients=4, seconds=WARM_S)
        outcomes = _window(server, asked, 64, seconds)
    served = Counter(outcome.client for outcome in outcomes if outcome.kind == 200)
    counts = [served[number] for number in range(64)]
    ratio = max(counts) / min(counts) if min(counts) else float("inf")
    return subject.described() | {
        "window_s": seconds,
        "clients": 64,
        "answers": counted(outcomes),
        "served_least": min(counts),
        "served_most": max(counts),
        "max_over_min": round(ratio, 3),
        "goals": {f"max/min served <= {GOAL_FAIRNESS}": ratio <= GOAL_FAIRNESS},
    }


def mixed_cuts(folder: Path, *, seconds: float, rounds: int) -> dict[str, Any]:
    """16 clients, every other one entering earlier: do they join one batch further down?

    Were they not joined, no batch could hold more than the 8 clients of one cut.
    """
    path = write_bundle(DENSE_CLASSIFIER, folder)
    early, late = (questions(Subject.open(path, cut)) for cut in ("features", "hidden"))
    clients = [early if number % 2 else late for number in range(16)]
    windows: dict[str, list[list[Outcome]]] = {"batched": [], "one_by_one": []}
    with OurServer([path], EAGER) as many, OurServer([path], SINGLE) as one:
        for server in (many, one):
            _ask_all(server, clients, WARM_S)
        for _ in range(rounds):
            windows["batched"].append(_ask_all(many, clients, seconds))
            windows["one_by_one"].append(_ask_all(one, clients, seconds))
    rows = {name: _row(found, seconds) for name, found in windows.items()}
    sizes = Counter(o.batch for window in windows["batched"] for o in window if o.kind == 200)
    joined = sum(count for size, count in sizes.items() if size > 8) / max(1, sizes.total())
    return {
        "model": DENSE_CLASSIFIER.name,
        "cuts": ["features", "hidden"],
        "clients_of_each": 8,
        "arms": rows,
        "gain": round(rows["batched"]["per_s"] / rows["one_by_one"]["per_s"], 2),
        "answers_from_batches_larger_than_one_cut_could_fill": round(joined, 3),
        "goals": {
            "batches across cuts": joined > 0,
            "every answer right": sum(row["not_200"] for row in rows.values()) == 0,
        },
    }


def overload(subject: Subject, *, seconds: float, deadline_ms: int) -> dict[str, Any]:
    """Three times what it can do, for a minute, every request with a deadline."""
    asked = questions(subject, deadline_ms=deadline_ms)
    patient = questions(subject)
    with OurServer([subject.path], EAGER) as server:
        _window(server, patient, clients=4, seconds=WARM_S)
        before = _row([_window(server, patient, 16, min(seconds, 10))], min(seconds, 10))
        rate = OVERLOAD * before["per_s"]
        started = time.perf_counter()
        outcomes, not_sent = run(
            lambda: open_loop(server.address, asked, per_s=rate, seconds=seconds)
        )
        took_s = time.perf_counter() - started
        after = _row([_window(server, patient, 16, min(seconds, 10))], min(seconds, 10))
    capacity = (before["per_s"] + after["per_s"]) / 2  # a shared machine's speed drifts
    good = [o for o in outcomes if o.kind == 200 and o.ms <= deadline_ms]
    times = percentiles(outcomes)
    kinds = counted(outcomes)
    shed = [o for o in outcomes if o.kind == 429]
    others = {kind: n for kind, n in kinds.items() if kind not in ("200", "429")}
    goodput = len(good) / took_s
    return subject.described() | {
        "deadline_ms": deadline_ms,
        "seconds": seconds,
        "capacity_per_s": {"before": before["per_s"], "after": after["per_s"]},
        "offered_per_s": round(rate, 1),
        "answers": kinds,
        "not_sent": not_sent,
        "goodput_per_s": round(goodput, 1),
        "goodput_of_capacity": round(goodput / capacity, 3),
        "accepted": times,
        "shed_p50_ms": round(statistics.median(o.ms for o in shed), 2) if shed else None,
        "shed_retry_after_s": sorted({o.retry_after_s for o in shed})[:8],
        "goals": {
            f"goodput >= {GOAL_GOODPUT} of capacity": goodput >= GOAL_GOODPUT * capacity,
            "accepted p99 within the deadline": times.get("p99_ms", 1e9) <= deadline_ms,
            "all others 429": not others,
            "the load was offered whole": not_sent == 0,
        },
    }


def soak(subject: Subject, *, seconds: float) -> dict[str, Any]:
    """8 clients for minutes; resident memory of the whole process tree, after a warm-up."""
    lossy, exact = questions(subject), questions(subject, "raw32")
    clients = [lossy if number % 2 else exact for number in range(8)]
    step = max(1.0, seconds / 60)
    memory: list[float] = []
    kinds: Counter[str] = Counter()
    with OurServer([subject.path]) as server:
        _ask_all(server, clients, max(5.0, seconds / 10))
        stop = time.perf_counter() + seconds
        while time.perf_counter() < stop:
            kinds.update(counted(_ask_all(server, clients, step)))
            memory.append(server.rss_mib())
        named = server.processes()
    tenth = max(1, len(memory) // 10)
    first, last = statistics.mean(memory[:tenth]), statistics.mean(memory[-tenth:])
    growth = last / first - 1
    wrong = sum(n for kind, n in kinds.items() if kind != "200")
    return subject.described() | {
        "seconds": round(seconds),
        "warm_up_s": round(max(5.0, seconds / 10)),
        "clients": 8,
        "connections": "made anew for each of the steps",
        "step_s": step,
        "answers": dict(kinds),
        "processes": len(named),
        "rss_mib": {"first_tenth": round(first, 1), "last_tenth": round(last, 1)},
        "rss_mib_steps": [round(mib, 1) for mib in memory],
        "growth": round(growth, 4),
        "goals": {
            f"growth < {GOAL_GROWTH:.0%}": growth < GOAL_GROWTH,
            "every answer right": wrong == 0,
        },
    }


def _window(
    server: OurServer, asked: Sequence[Question], clients: int, seconds: float
) -> list[Outcome]:
    return _ask_all(server, [asked] * clients, seconds)


def _ask_all(
    server: OurServer, clients: Sequence[Sequence[Question]], seconds: float
) -> list[Outcome]:
    found: list[Outcome] = run(lambda: closed_loop(server.address, clients, seconds=seconds))
    return found


def _row(windows: Sequence[Sequence[Outcome]], seconds: float) -> dict[str, Any]:
    """Medians over windows, and percentiles of all their answers together."""
    answered = [[o for o in window if o.kind == 200] for window in windows]
    every = [outcome for window in answered for outcome in window]
    total = sum(len(window) for window in windows)
    return {
        "per_s": round(statistics.median(len(window) / seconds for window in answered), 1),
        "answers": len(every),
        "not_200": total - len(every),
        "mean_batch": round(statistics.fmean(o.batch for o in every), 2) if every else 0.0,
    } | percentiles(every)

"""Do damaged messages ever crash the server, make it answer 500, or take more memory than declared?

    python -m benchmarks.fuzz_wire BUNDLE [--frames N] [--requests N] [--seconds S]

    parsers    N damaged messages at every parser that bytes from a network reach, in this process,
               with the memory of each case measured (tracemalloc)
    coverage   the same parsers under libFuzzer (atheris), which keeps what reaches new code
    server     a real `headtail serve`: damaged bodies and headers over HTTP, damaged messages over
               WebSocket and gRPC; statuses counted, resident memory watched, its log searched for
               tracebacks; a whole request in between, whose answer is compared

Everything is counted in results/fuzz_wire.json; the exit status is 1 if anything was found.
"""

from __future__ import annotations

import argparse
import collections
import re
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path
from typing import Any

from benchmarks.fuzz_frames import ALLOWED_BASE, LIMIT, PER_BYTE, Damage, Target, targets
from benchmarks.fuzz_server import fuzz_grpc, fuzz_http, fuzz_stream, right_answer, tracebacks
from benchmarks.server_rig import EAGER, OurServer, Subject, commit, free_port, record, versions
from headtail.errors import HeadtailError

RESULT = Path(__file__).parent / "results" / "fuzz_wire.json"
GROWTH_MIB = 64.0  # of the whole server while it is fuzzed: some bodies in flight, and caches
ATHERIS_SHOWN = re.compile(
    r"DONE\s+cov: (?P<edges>\d+) ft: (?P<features>\d+) corp: (?P<corpus>\d+)/\S+"
    r".*rss: (?P<rss_mb>\d+)Mb"
)
Findings = list[str]


def fuzz_parsers(subject: Subject, frames: int, findings: Findings) -> dict[str, Any]:
    """`frames` messages, the same number for each parser."""
    figures: dict[str, Any] = {}
    held = targets(subject)
    tracemalloc.start()
    for number, target in enumerate(held):
        figures[target.name] = _fuzz_one(target, Damage(number), frames // len(held), findings)
        print(target.name, figures[target.name], flush=True)
    tracemalloc.stop()
    figures["frames"] = sum(each["frames"] for each in figures.values())
    return figures


def _fuzz_one(target: Target, damage: Damage, frames: int, findings: Findings) -> dict[str, Any]:
    answers: collections.Counter[str] = collections.Counter()
    worst, over = 0, 0
    for _ in range(frames):
        data = damage.of(target)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        try:
            target.run(data)
            answers["answered"] += 1
        except HeadtailError as error:
            answers[type(error).__name__] += 1
        except Exception as error:
            answers["crash"] += 1
            findings.append(
                f"{target.name}: {type(error).__name__}: {error} for {data[:200].hex()}"
            )
        peak = tracemalloc.get_traced_memory()[1] - before
        worst = max(worst, peak)
        if peak > ALLOWED_BASE + target.declared_bytes + PER_BYTE * len(data):
            over += 1
            findings.append(f"{target.name}: {peak} bytes for {data[:200].hex()}")
    return {
        "frames": frames,
        "answers": dict(answers),
        "worst_peak_bytes": worst,
        "over_the_limit": over,
        "declared_bytes": target.declared_bytes,
    }


def fuzz_coverage(bundle: Path, runs: int, findings: Findings) -> dict[str, Any]:
    """`runs` executions under libFuzzer, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.fuzz_coverage", str(bundle)]
    options = [
        f"-runs={runs}",
        "-rss_limit_mb=1024",
        "-malloc_limit_mb=64",
        f"-max_len={LIMIT >> 4}",
    ]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    found = ATHERIS_SHOWN.search(done.stderr)
    if done.returncode or found is None:
        findings.append(f"coverage: exit {done.returncode}: {done.stderr[-2000:]}")
        return {"runs": 0}
    return {"runs": runs, **{key: int(value) for key, value in found.groupdict().items()}}


def fuzz_server(subject: Subject, requests: int, findings: Findings) -> dict[str, Any]:
    """`requests` over sockets: seven tenths HTTP, two tenths stream, one tenth gRPC."""
    held = {target.name: target for target in targets(subject)}
    model, port = subject.bundle.manifest.name, free_port()
    settings = {**EAGER, "grpc_port": str(port), "max_body_bytes": str(LIMIT)}
    with OurServer([subject.path], settings) as server, _Watch(server) as watch:
        if not right_answer(server.url, subject):
            findings.append("server: a wrong answer before anything was damaged")
        before, started = set(server.processes()), time.monotonic()
        host = server.address[0]
        figures: dict[str, Any] = {
            "http": dict(
                fuzz_http(
                    server.address,
                    model,
                    held["request"],
                    count=requests * 7 // 10,
                    damage=Damage(101),
                )
            ),
            "stream": dict(
                fuzz_stream(
                    server.address,
                    model,
                    held["request"],
                    count=requests * 2 // 10,
                    damage=Damage(102),
                )
            ),
            "grpc": dict(
                fuzz_grpc((host, port), held["grpc"], count=requests // 10, damage=Damage(103))
            ),
        }
        figures["requests"] = sum(sum(each.values()) for each in figures.values())
        figures["seconds"] = round(time.monotonic() - started, 1)
        if not right_answer(server.url, subject):
            findings.append("server: a wrong answer afterwards")
        figures["tracebacks"] = len(found := tracebacks(server))
        figures["processes_replaced"] = len(before ^ set(server.processes())) // 2
        findings += [f"server: {text}" for text in found[:5]]
    figures["rss_mib"] = watch.figures()
    if figures["processes_replaced"]:
        findings.append(f"server: {figures['processes_replaced']} processes were replaced")
    for protocol, bad in (("http", "500"), ("stream", "500"), ("grpc", "INTERNAL")):
        if count := figures[protocol].get(bad):
            findings.append(f"server: {count} answers of {bad} over {protocol}")
    if watch.growth_mib > GROWTH_MIB:
        findings.append(f"server: its memory grew by {watch.growth_mib:.0f} MiB")
    return figures


class _Watch:
    """Resident memory of a server's processes, MiB, looked at twice a second."""

    def __init__(self, server: OurServer) -> None:
        self._server = server
        self._seen: list[float] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> _Watch:
        self._seen.append(self._server.rss_mib())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._seen.append(self._server.rss_mib())
        self._done.set()
        self._thread.join()

    @property
    def growth_mib(self) -> float:
        """The highest over the first."""
        return max(self._seen) - self._seen[0]

    def figures(self) -> dict[str, float]:
        """First, highest and last."""
        first, last = self._seen[0], self._seen[-1]
        return {"first": round(first), "highest": round(max(self._seen)), "last": round(last)}

    def _look(self) -> None:
        while not self._done.wait(0.5):
            self._seen.append(self._server.rss_mib())


def main() -> int:
    """Run all three, print and keep the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--frames", type=int, default=100_000, help="for the parsers")
    parser.add_argument("--runs", type=int, default=200_000, help="under libFuzzer")
    parser.add_argument("--requests", type=int, default=24_000, help="through sockets")
    options = parser.parse_args()
    subject, findings = Subject.open(options.bundle, None), Findings()
    begun = {"commit": commit(), "versions": versions(), **subject.described()}
    sections = {
        "parsers": lambda: fuzz_parsers(subject, options.frames, findings),
        "coverage": lambda: fuzz_coverage(options.bundle, options.runs, findings),
        "server": lambda: fuzz_server(subject, options.requests, findings),
    }
    for name, section in sections.items():
        figures = section()
        print(name, figures, flush=True)
        record(RESULT, name, {**begun, **figures})
    record(RESULT, "findings", {"count": len(findings), "first": findings[:20]})
    print(*findings, sep="\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())

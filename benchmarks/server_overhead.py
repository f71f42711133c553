"""What the companion server adds to a tail on loopback, beside the same tail in FastAPI + JSON.

    python benchmarks/server_overhead.py NAME.bundle [--cut ID] [--blocks 8] [--requests 25]

Four arms take turns in blocks, A B C D A B C D, with one client, one connection each:

    tail         the bare call of the tail, in this process
    aq8t, raw32  the companion server (a process of its own), asked by headtail.offload's client
    json         the same tail in a FastAPI route that takes and gives JSON lists (float32)

A round trip begins with the cut's float32 arrays and ends with the outputs' float32 arrays, so
encoding and decoding on both sides are in it. Two figures say what an arm adds:

    over_tail_ms     a percentile of the round trip minus the same percentile of the bare call
    over_compute_ms  percentiles of (round trip minus the compute time which that same reply states)

The second pairs each request with its own compute, so it still means something on a machine that is
busy with other things, where the first is mostly their noise. The goal is on the larger p50 of the
two. Ends in one JSON line; exit code 1 if the goal is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import http.client
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from headtail.bundle import Bundle, open_bundle
from headtail.manifest import Cut
from headtail.metrics import max_abs_diff
from headtail.offload.client import Companion
from headtail.tensors import Array
from headtail.timing import summarize

GOAL_ADDED_P50_MS = 3.0
WARMUP = 10
DEADLINE_S = 60.0  # never the thing that is measured
CODECS = {"aq8t": "aq8t+deflate", "raw32": "raw32"}
TOLERANCE = {"aq8t": None, "raw32": 1e-4, "json": 1e-4}  # None: lossy, reported and not checked
PERCENTILES = ("p50", "p90", "p99")


@dataclasses.dataclass(frozen=True)
class Answer:
    """The outputs, and what the other side says of its own time (ms by stage)."""

    outputs: Sequence[Array]
    server_ms: dict[str, float]
    bytes_up: int = 0


Arm = Callable[[], Answer]


def tail_module(bundle: Bundle, cut: Cut) -> Any:
    """The tail of `cut` as a module, torch on one thread."""
    import torch

    from exporters.graphfile import TailProgram

    torch.set_num_threads(1)
    tail = bundle.manifest.tails[0]
    program = TailProgram.read(bundle.file(tail.program), bundle.file(tail.weights))
    return program.enter([spec.name for spec in cut.tensors])


def run_tail(module: Any, arrays: Sequence[Array]) -> list[Array]:
    """One bare call."""
    import torch

    with torch.inference_mode():
        return [out.numpy() for out in module(*(torch.from_numpy(array) for array in arrays))]


def serve_json(path: Path, cut_id: str, port_to: Connection) -> None:
    """The peer: what one writes in ten minutes with FastAPI, run by uvicorn with its defaults."""
    import socket

    import torch
    import uvicorn
    from fastapi import Body, FastAPI

    bundle = open_bundle(path, check=False)
    cut = bundle.manifest.cut(cut_id)
    module = tail_module(bundle, cut)

    app = FastAPI()

    @app.post("/infer")
    def infer(tensors: list[list[float]] = Body(embed=True)) -> dict[str, list[Any]]:  # noqa: B008
        torch.set_num_threads(1)  # the route runs on a thread of FastAPI's pool
        arrays = [
            np.array(values, np.float32).reshape(spec.shape)
            for values, spec in zip(tensors, cut.tensors, strict=True)
        ]
        start = time.perf_counter()
        outputs = run_tail(module, arrays)
        compute_ms = (time.perf_counter() - start) * 1e3
        return {"outputs": [out.tolist() for out in outputs], "compute_ms": [compute_ms]}

    listener = socket.create_server(("127.0.0.1", 0))
    port_to.send(listener.getsockname()[1])
    config = uvicorn.Config(app, log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


def json_arm(connection: http.client.HTTPConnection, arrays: list[Array]) -> Arm:
    """A round trip to `serve_json`."""

    def ask() -> Answer:
        body = json.dumps({"tensors": [array.reshape(-1).tolist() for array in arrays]})
        connection.request("POST", "/infer", body, {"Content-Type": "application/json"})
        reply = json.loads(connection.getresponse().read())
        outputs = [np.array(output, np.float32) for output in reply["outputs"]]
        return Answer(outputs, {"compute_ms": reply["compute_ms"][0]}, len(body))

    return ask


def split_arm(
    companion: Companion, bundle: Bundle, cut: Cut, codec: str, arrays: Sequence[Array]
) -> Arm:
    """A round trip to the companion server with the phone's own client."""
    name, bundle_id = bundle.manifest.name, bundle.manifest.bundle_id

    def ask() -> Answer:
        reply = companion.infer_tail(
            name, bundle_id, cut, codec, arrays, deadline_ms=DEADLINE_S * 1e3
        )
        return Answer(reply.outputs, reply.server, reply.bytes_up)

    return ask


@dataclasses.dataclass
class Samples:
    """Of one arm, call by call: round trip in ms, and the answers' own accounts."""

    round_trip_ms: list[float] = dataclasses.field(default_factory=list)
    server_ms: list[dict[str, float]] = dataclasses.field(default_factory=list)


def alternate(arms: dict[str, Arm], *, blocks: int, requests: int) -> dict[str, Samples]:
    """Every call of every arm, arms taking turns block by block."""
    samples = {name: Samples() for name in arms}
    for arm in arms.values():
        for _ in range(WARMUP):
            arm()
    for _ in range(blocks):
        for name, arm in arms.items():
            for _ in range(requests):
                start = time.perf_counter()
                answer = arm()
                samples[name].round_trip_ms.append((time.perf_counter() - start) * 1e3)
                samples[name].server_ms.append(answer.server_ms)
    return samples


def check_answers(arms: dict[str, Arm]) -> dict[str, dict[str, float]]:
    """Largest difference of each arm's outputs from the bare tail's; exact arms must be close."""
    reference = arms["tail"]().outputs
    found = {}
    for name, arm in arms.items():
        answer = arm()
        pairs = zip(answer.outputs, reference, strict=True)
        worst = max(max_abs_diff(reference=right, candidate=output) for output, right in pairs)
        limit = TOLERANCE.get(name)
        if limit is not None and worst > limit:
            raise SystemExit(f"{name} answers otherwise than the tail: by {worst}")
        found[name] = {"max_abs_diff": worst, "bytes_up": answer.bytes_up}
    return found


def figures_of(samples: Samples, tail: Samples) -> dict[str, Any]:
    """One arm's figures; see the module docstring for the two `over_` ones."""
    trip, bare = (summarize(s.round_trip_ms, kind="host", warmup=WARMUP) for s in (samples, tail))
    figures: dict[str, Any] = {
        key: round(value, 3) for key, value in dataclasses.asdict(trip).items() if key != "kind"
    }
    if samples is tail:
        return figures
    pairs = zip(samples.round_trip_ms, samples.server_ms, strict=True)
    paired = summarize(
        [trip_ms - server["compute_ms"] for trip_ms, server in pairs], kind="host", warmup=WARMUP
    )
    figures["over_tail_ms"] = {
        p: round(getattr(trip, f"{p}_ms") - getattr(bare, f"{p}_ms"), 3) for p in PERCENTILES
    }
    figures["over_compute_ms"] = {p: round(getattr(paired, f"{p}_ms"), 3) for p in PERCENTILES}
    figures["server_p50_ms"] = {
        stage: round(float(np.median([s[stage] for s in samples.server_ms])), 3)
        for stage in samples.server_ms[0]
    }
    return figures


def versions() -> dict[str, str]:
    """What was measured with."""
    packages = ("torch", "numpy", "fastapi", "starlette", "uvicorn", "httptools", "uvloop")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


@contextlib.contextmanager
def servers(path: Path, cut: Cut) -> Iterator[tuple[int, int]]:
    """Both servers as processes of their own; yields their ports, the companion server's first."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    environment["HEADTAIL_SERVER_PORT"] = "0"
    command = [sys.executable, "-m", "companion_server", str(path)]
    ours = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    spawn = multiprocessing.get_context("spawn")
    receiver, sender = spawn.Pipe(duplex=False)
    peer = spawn.Process(target=serve_json, args=(path, cut.id, sender), daemon=True)
    peer.start()
    try:
        assert ours.stdout is not None
        yield int(ours.stdout.readline().rsplit(":", 1)[1]), int(receiver.recv())
    finally:
        ours.terminate()
        peer.terminate()
        ours.wait()
        peer.join()


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The whole comparison, as the JSON line has it."""
    bundle = open_bundle(options.bundle)
    cuts = [cut for cut in bundle.manifest.cuts if cut.materialised]
    cut = bundle.manifest.cut(options.cut) if options.cut else cuts[-1]
    golden = bundle.golden()
    arrays = [golden[f"cut.{cut.id}.0.{spec.name}"].copy() for spec in cut.tensors]
    module = tail_module(bundle, cut)
    with servers(options.bundle, cut) as (ours, theirs):
        arms: dict[str, Arm] = {"tail": lambda: Answer(run_tail(module, arrays), {})}
        for name, codec in CODECS.items():
            companion = Companion(f"http://127.0.0.1:{ours}", timeout_s=DEADLINE_S)
            arms[name] = split_arm(companion, bundle, cut, codec, arrays)
        arms["json"] = json_arm(http.client.HTTPConnection("127.0.0.1", theirs), arrays)
        checked = check_answers(arms)
        samples = alternate(arms, blocks=options.blocks, requests=options.requests)
    figures = {name: figures_of(s, samples["tail"]) | checked[name] for name, s in samples.items()}
    added = max(figures["aq8t"][key]["p50"] for key in ("over_tail_ms", "over_compute_ms"))
    return {
        "benchmark": "server_overhead",
        "model": bundle.manifest.name,
        "cut": cut.id,
        "tensors": [str(spec) for spec in cut.tensors],
        "timing_kind": "host",
        "arms": figures,
        "added_p50_ms": added,
        "goal_p50_ms": GOAL_ADDED_P50_MS,
        "goal_met": added <= GOAL_ADDED_P50_MS,
        "cpus": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "versions": versions(),
    }


def main() -> int:
    """Measure, print a table and one JSON line."""
    parser = argparse.ArgumentParser(description="Added latency of the companion server")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--cut", help="default: the last materialised cut")
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--requests", type=int, default=25, help="per block and arm")
    result = measure(parser.parse_args())
    print(f"{result['model']} from {result['cut']} ({', '.join(result['tensors'])}); ms")
    print(
        "arm      p50     p90     p99   over tail p50   over compute p50     p90     p99   bytes up"
    )
    for name, figure in result["arms"].items():
        line = f"{name:5}" + "".join(f"{figure[f'{p}_ms']:8.3f}" for p in PERCENTILES)
        if name != "tail":
            over = figure["over_compute_ms"]
            line += f"{figure['over_tail_ms']['p50']:16.3f}{over['p50']:19.3f}"
            line += f"{over['p90']:8.3f}{over['p99']:8.3f}{figure['bytes_up']:11}"
        print(line)
    print(json.dumps(result))
    return 0 if result["goal_met"] else 1


if __name__ == "__main__":
    sys.exit(main())

"""What does each protocol add to the tail? HTTP, the stream and gRPC in turns, at one server.

    python -m benchmarks.stream_overhead BUNDLE [--rounds N] [--calls N]

One client on loopback, without TLS and keys, one request at a time, of the cut whose frame is
nearest to 13 KiB; the protocols take turns (A B C A B C). A call's overhead is its round trip less
what the server says it waited and computed; encoding the frame is not in it, everything else is,
the way to the executor's process and back included. Every answer must have the golden one's
largest value. Kept in results/stream_overhead.json, with the machine's load: on a busy one only the
smallest times say much.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from benchmarks.server_rig import EAGER, OurServer, Subject, commit, free_port, record, versions
from companion_server.grpc_messages import SERVICE, message
from headtail.offload.client import Companion
from headtail.offload.stream import StreamCompanion
from headtail.timing import summarize
from headtail.wire.boundary import INPUT_NAME, encode_boundary
from headtail.wire.split import SplitParameters

RESULT = Path(__file__).parent / "results" / "stream_overhead.json"
CODEC = "aq8t+deflate"
DEADLINE_MS = 10_000
WARMUP = 100

# one call: round trip, and the server's queue and compute of it, all in ms
Call = Callable[[], tuple[float, float]]


def over_tail_client(client: Companion | StreamCompanion, subject: Subject) -> Call:
    """Over HTTP or the stream: the phone's own clients."""
    manifest = subject.bundle.manifest
    largest = int(np.argmax(subject.outputs[0][0]))

    def call() -> tuple[float, float]:
        reply = client.infer_tail(
            manifest.name,
            manifest.bundle_id,
            subject.cut,
            CODEC,
            subject.inputs[0],
            deadline_ms=DEADLINE_MS,
        )
        assert int(np.argmax(reply.outputs[0])) == largest
        return reply.round_trip_ms, reply.server["queue_ms"] + reply.server["compute_ms"]

    return call


@contextlib.contextmanager
def over_grpc(address: str, subject: Subject) -> Iterator[Call]:
    """Over gRPC: a plain channel, the request encoded beforehand."""
    manifest = subject.bundle.manifest
    largest = int(np.argmax(subject.outputs[0][0]))
    frame = encode_boundary(subject.inputs[0], subject.cut, CODEC)
    request = message("ModelInferRequest")(model_name=manifest.name, raw_input_contents=[frame])
    request.inputs.add(name=INPUT_NAME, datatype="UINT8", shape=[len(frame)])
    options = SplitParameters(manifest.bundle_id, subject.cut.id, CODEC)
    for name, value in options.to_parameters().items():
        request.parameters[name].string_param = str(value)
    data, made = request.SerializeToString(), message("ModelInferResponse")
    spec = manifest.outputs[0]
    with grpc.insecure_channel(address) as channel:
        method = channel.unary_unary(f"/{SERVICE}/ModelInfer")

        def call() -> tuple[float, float]:
            started = time.perf_counter()
            reply = made.FromString(method(data, timeout=DEADLINE_MS / 1e3))
            round_trip_ms = (time.perf_counter() - started) * 1e3
            output = np.frombuffer(reply.raw_output_contents[0], spec.numpy_dtype)
            assert int(np.argmax(output)) == largest
            times = (reply.parameters[f"split.{name}_ms"] for name in ("queue", "compute"))
            return round_trip_ms, sum(value.double_param for value in times)

        yield call


def main() -> int:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--calls", type=int, default=100, help="of each protocol in a round")
    options = parser.parse_args()
    subject, port = Subject.open(options.bundle, None), free_port()
    found: dict[str, list[tuple[float, float]]] = {"http": [], "stream": [], "grpc": []}
    with (
        OurServer([subject.path], {**EAGER, "grpc_port": str(port)}) as server,
        contextlib.closing(Companion(server.url)) as http,
        contextlib.closing(StreamCompanion(server.url)) as stream,
        over_grpc(f"{server.address[0]}:{port}", subject) as rpc,
    ):
        calls = {
            "http": over_tail_client(http, subject),
            "stream": over_tail_client(stream, subject),
            "grpc": rpc,
        }
        for call in calls.values():
            for _ in range(WARMUP):
                call()
        for _ in range(options.rounds):
            for name, call in calls.items():
                found[name] += [call() for _ in range(options.calls)]
    figures: dict[str, Any] = {
        "commit": commit(),
        "versions": versions(),
        "load_average": [round(load, 1) for load in os.getloadavg()],  # what else ran
        **subject.described(),
    }
    for name, pairs in found.items():
        added = [trip - server_ms for trip, server_ms in pairs]
        figures[name] = {
            "round_trip": _summary([trip for trip, _ in pairs]),
            "overhead": _summary(added),
        }
        print(name, figures[name])
    record(RESULT, subject.bundle.manifest.name, figures)
    return 0


def _summary(samples_ms: list[float]) -> dict[str, Any]:
    timing = summarize(samples_ms, kind="host", warmup=WARMUP)
    rounded = dataclasses.asdict(timing).items()
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in rounded}


if __name__ == "__main__":
    sys.exit(main())

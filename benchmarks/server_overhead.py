"""What each way of serving a tail adds to the bare call of it, one client, one kept connection.

Arms take their turns in blocks, A B C D A B C D, in one run. A round trip begins with the cut's
float32 arrays and ends with the outputs' float32 arrays, so encoding and decoding on both sides
are in it. Two figures say what an arm adds:

    over_tail_ms     a percentile of the round trip minus the same percentile of the bare call
    over_compute_ms  percentiles of (round trip minus the compute time which that same reply states)

The second pairs each request with its own compute, so it still means something on a machine that is
busy with other things, where the first is mostly their noise. The goals are on the second for p50
and p99 of `aq8t`, and on the ratio of the best peer's p50 to ours, whichever protocol makes it the
best; the floors are no peers. `ledger_p50_ms` says where an arm's time goes, as far as client and
server measure it themselves; `elsewhere` is HTTP at both ends, the kernel, the way to the process
that computes and back, and all that is cold after some ms of computing.

    tail         the bare call of the tail, in this process
    aq8t, raw32  the companion server, asked by headtail.offload's client over HTTP; aq8t is
                 `aq8t+deflate`, what a phone would send
    aq8t_packed  the same without deflate: a fifth more bytes
    aq8t_stream  the same over its WebSocket
    aq8t_grpc    the same over gRPC, asked by tritonclient
    aq8t_tls     a second server with TLS and keys, as it is by default, asked over HTTPS
    the rest     `server_peers.py`

Every server runs the tail in torch, eagerly: ours is told not to build faster forms of it.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.peers.tail import PeerTail
from benchmarks.server_peers import BARE, FLOORS, Answer, Arm, peer_versions, peers
from benchmarks.server_rig import EAGER, OurServer, Subject, free_port
from headtail.metrics import max_abs_diff
from headtail.offload.client import Companion
from headtail.offload.stream import StreamCompanion
from headtail.tensors import Array
from headtail.timing import summarize
from headtail.wire import boundary, split

GOAL_P50_MS, GOAL_P99_MS, GOAL_RATIO = 1.0, 3.0, 3.0
WARMUP = 20
SETTLE = 2  # calls at the start of a block that are not counted: its connection may be gone
DEADLINE_S = 60.0  # never the thing that is measured
TOLERANCE = 1e-4
PERCENTILES = ("p50", "p90", "p99")
LOSSY = "aq8t+deflate"


def companion_arm(companion: Companion | StreamCompanion, subject: Subject, codec: str) -> Arm:
    """A round trip to the companion server with the phone's own client."""
    manifest, cut = subject.bundle.manifest, subject.cut

    def ask(arrays: Sequence[Array]) -> Answer:
        reply = companion.infer_tail(
            manifest.name, manifest.bundle_id, cut, codec, arrays, deadline_ms=DEADLINE_S * 1e3
        )
        client = {"client_encode_ms": reply.encode_ms, "round_trip_ms": reply.round_trip_ms}
        return Answer(reply.outputs, reply.server | client, reply.bytes_up)

    return ask


def grpc_arm(address: str, subject: Subject, codec: str) -> Arm:
    """A round trip over gRPC with an unmodified client of the protocol."""
    from tritonclient import grpc

    client = grpc.InferenceServerClient(address)
    manifest, cut = subject.bundle.manifest, subject.cut
    options = split.SplitParameters(manifest.bundle_id, cut.id, codec).to_parameters()

    def ask(arrays: Sequence[Array]) -> Answer:
        frame = np.frombuffer(boundary.encode_boundary(arrays, cut, codec), np.uint8)
        tensor = grpc.InferInput(boundary.INPUT_NAME, list(frame.shape), "UINT8")
        tensor.set_data_from_numpy(frame)
        reply = client.infer(manifest.name, [tensor], manifest.bundle_id, parameters=options)
        told = reply.get_response().parameters
        times = {
            stage: told[f"split.{stage}"].double_param
            for stage in ("decode_ms", "queue_ms", "compute_ms")
        }
        return Answer([reply.as_numpy(s.name) for s in manifest.outputs], times, frame.nbytes)

    return ask


def tail_arm(subject: Subject) -> Arm:
    """The bare call."""
    tail = PeerTail(subject.path, subject.cut.id)

    def ask(arrays: Sequence[Array]) -> Answer:
        return Answer(tail.run(arrays)[0], {})

    return ask


@dataclasses.dataclass
class Samples:
    """Of one arm, call by call: round trip in ms, and the answers' own accounts."""

    round_trip_ms: list[float] = dataclasses.field(default_factory=list)
    server_ms: list[dict[str, float]] = dataclasses.field(default_factory=list)


def alternate(
    arms: dict[str, Arm], inputs: Sequence[Sequence[Array]], *, blocks: int, requests: int
) -> dict[str, Samples]:
    """Every call of every arm, arms taking turns block by block; inputs go round."""
    samples = {name: Samples() for name in arms}
    for arm in arms.values():
        for i in range(WARMUP):
            arm(inputs[i % len(inputs)])
    for _ in range(blocks):
        for name, arm in arms.items():
            for i in range(SETTLE):
                arm(inputs[i])
            for i in range(requests):
                arrays = inputs[i % len(inputs)]
                start = time.perf_counter()
                answer = arm(arrays)
                samples[name].round_trip_ms.append((time.perf_counter() - start) * 1e3)
                samples[name].server_ms.append(answer.server_ms)
    return samples


def check_answers(arms: dict[str, Arm], subject: Subject) -> dict[str, dict[str, float]]:
    """Largest difference from the bare tail's outputs; all but quantised ones must be close."""
    found = {}
    for name, arm in arms.items():
        worst, answer = 0.0, Answer([], {})
        for arrays in subject.inputs[:4]:
            reference, answer = arms["tail"](arrays).outputs, arm(arrays)
            pairs = zip(answer.outputs, reference, strict=True)
            worst = max(worst, *(max_abs_diff(reference=r, candidate=c) for c, r in pairs))
        lossy = name.startswith("aq8t") or name == BARE
        if not lossy and worst > TOLERANCE:
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
    # the client's clock began before the server's, so this is negative only if a reply lies
    paired = summarize(
        [trip_ms - server["compute_ms"] for trip_ms, server in pairs], kind="host", warmup=WARMUP
    )
    figures["over_tail_ms"] = {
        p: round(getattr(trip, f"{p}_ms") - getattr(bare, f"{p}_ms"), 3) for p in PERCENTILES
    }
    figures["over_compute_ms"] = {p: round(getattr(paired, f"{p}_ms"), 3) for p in PERCENTILES}
    figures["ledger_p50_ms"] = {
        stage: round(float(np.median(times)), 3) for stage, times in _ledger(samples).items()
    }
    return figures


def _ledger(samples: Samples) -> dict[str, list[float]]:
    """Stage -> ms of every call, which add up to its round trip."""
    told = {stage: [s[stage] for s in samples.server_ms] for stage in samples.server_ms[0]}
    if "round_trip_ms" in told:
        there = told.pop("round_trip_ms")
        sent = zip(samples.round_trip_ms, told["client_encode_ms"], there, strict=True)
        told["client_decode_ms"] = [whole - before - between for whole, before, between in sent]
    known = zip(*told.values(), strict=True)
    parts = zip(samples.round_trip_ms, known, strict=True)
    return told | {"elsewhere": [whole - sum(stages) for whole, stages in parts]}


def judged(figures: dict[str, dict[str, Any]], rivals: Sequence[str]) -> dict[str, Any]:
    """The goals, and whether each was met."""
    ours = figures["aq8t"]["over_compute_ms"]
    best = min(rivals, key=lambda name: figures[name]["over_compute_ms"]["p50"])
    ratio = figures[best]["over_compute_ms"]["p50"] / ours["p50"]
    return {
        "added_p50_ms": ours["p50"],
        "added_p99_ms": ours["p99"],
        "added_by_the_floor_p50_ms": figures[BARE]["over_compute_ms"]["p50"],
        "added_beyond_the_floor_p50_ms": round(
            ours["p50"] - figures[BARE]["over_compute_ms"]["p50"], 3
        ),
        "best_peer": best,
        "best_peer_over_ours": round(ratio, 2),
        "each_over_ours": {
            name: round(figures[name]["over_compute_ms"]["p50"] / ours["p50"], 2)
            for name in (*rivals, *FLOORS)
        },
        "goals": {
            f"added p50 <= {GOAL_P50_MS} ms": ours["p50"] <= GOAL_P50_MS,
            f"added p99 <= {GOAL_P99_MS} ms": ours["p99"] <= GOAL_P99_MS,
            f"best peer adds >= {GOAL_RATIO} x as much": ratio >= GOAL_RATIO,
        },
    }


def our_arms(ours: OurServer, guarded: OurServer, subject: Subject) -> dict[str, Arm]:
    """Every way to ask the companion server."""
    plain = {
        name: _own_arm(ours.url, subject, codec)
        for name, codec in (("aq8t", LOSSY), ("aq8t_packed", "aq8t"), ("raw32", "raw32"))
    }
    stream = StreamCompanion(ours.url, timeout_s=DEADLINE_S)
    pin, key = guarded.told["fingerprint"], guarded.told["key"]
    secure = Companion(guarded.url, timeout_s=DEADLINE_S, pin=pin, key=key)
    return plain | {
        "aq8t_stream": companion_arm(stream, subject, LOSSY),
        "aq8t_grpc": grpc_arm(ours.told["grpc"], subject, LOSSY),
        "aq8t_tls": companion_arm(secure, subject, LOSSY),
    }


def _own_arm(url: str, subject: Subject, codec: str = LOSSY) -> Arm:
    return companion_arm(Companion(url, timeout_s=DEADLINE_S), subject, codec)


def measure(subject: Subject, *, blocks: int, requests: int) -> dict[str, Any]:
    """The section `overhead`."""
    port = str(free_port())
    with (
        OurServer([subject.path], {**EAGER, "grpc_port": port}) as ours,
        OurServer([subject.path], {**EAGER, "tls": "true", "auth": "true"}) as guarded,
        peers(subject, lambda url: _own_arm(url, subject)) as others,
    ):
        arms = {"tail": tail_arm(subject)} | our_arms(ours, guarded, subject) | others
        checked = check_answers(arms, subject)
        samples = alternate(arms, subject.inputs, blocks=blocks, requests=requests)
    figures = {name: figures_of(s, samples["tail"]) | checked[name] for name, s in samples.items()}
    rivals = [name for name in others if name not in FLOORS]
    return {"arms": figures, "peers": peer_versions()} | judged(figures, rivals)


def printed(figures: dict[str, Any]) -> None:
    """A table for people."""
    heading = "arm                p50      p90      p99   adds p50     p90     p99   bytes up"
    print(f"{heading}   (ms)")
    for name, arm in figures["arms"].items():
        line = f"{name:14}" + "".join(f"{arm[f'{p}_ms']:9.3f}" for p in PERCENTILES)
        if "over_compute_ms" in arm:
            over = arm["over_compute_ms"]
            line += f"{over['p50']:11.3f}{over['p90']:8.3f}{over['p99']:8.3f}{arm['bytes_up']:11}"
        print(line)

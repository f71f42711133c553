"""The failure matrix of offloading, with a real model: what frames see while things are done.

    python -m benchmarks.offload BUNDLE [--output FILE] [--device-ms MS] [--only ROW ...]

The real client (`OffloadEngine` in `auto`, where nothing else is said) against `headtail serve` in
processes of its own, through a proxy that shapes the link to 10 Mbit/s and 20 ms. The device is
this machine's LiteRT, which computes everything so often that the model takes some `--device-ms`: a
stand-in for a slow phone, for which the server is worth its link however busy this machine is.
Server, proxy and device share the cores, so nothing here is a phone's latency; what is measured is
whether frames are answered in time, rightly, and how soon the plan changes:

    frames        asked since the fault began, without a pause
    late          took more than deadline + the slowest local run of the row + `allowance_ms`
    wrong         differ from what the artifact itself gives by more than the codec can explain
    changed       until the first decision for another route: frames before it, ms

`tests/headtail/offload/test_failure_matrix.py` holds the same rows with a small model. Needs root,
to mount a small disk, and a C compiler. With `--only` the other rows of the file stay as they are.
Prints a line per row and one JSON line at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.server_disk import _small_disk
from benchmarks.server_rig import ROOT, commit, python_path, versions
from headtail.bundle import Bundle, open_bundle
from headtail.errors import HeadtailError, IntegrityFault
from headtail.manifest import FORWARD
from headtail.offload.client import Companion
from headtail.offload.engine import OffloadEngine
from headtail.offload.planner import decide
from headtail.offload.policy import Policy
from headtail.offload.trace import replay
from headtail.runtimes import runtime_of
from headtail.timing import measure
from tests.support.failure_rows import ALLOWANCE_MS, Row, SlowDevice, Watch, split_first
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.jumping_clock import jumping_clock
from tests.support.real_server import RealServer

GOOD = Fault(mbit_s=10.0, rtt_s=0.02)
SLOW = dataclasses.replace(GOOD, mbit_s=0.1)
DEADLINE_MS = 2000.0
DEVICE_MS = 400.0
SECONDS = 4.0
BODY_MEMORY = 100_000
TOLERANCE = 0.5  # of logits over some ten units, by aq8t at the cuts that the planner chooses from
STEADY_FRAMES = 40


class Bench:
    """One bundle, and what it is watched with."""

    def __init__(self, path: Path, device_ms: float) -> None:
        self.path, self._device_ms = path, device_ms
        self.factor = 0  # how often the device computes everything; the first client finds out
        self.bundle = open_bundle(path)
        self._stack = contextlib.ExitStack()

    def watch(
        self,
        link: FaultProxy,
        told: dict[str, Any],
        *,
        bundle: Bundle | None = None,
        mode: str = "auto",
    ) -> Watch:
        """A new client on a link."""
        bundle = bundle or self.bundle
        artifact = bundle.manifest.artifact("litert", "fp32")
        entries = {entry.name: (entry.inputs, entry.outputs) for entry in artifact.entries}
        session = runtime_of("litert").load(bundle.artifact_path(artifact), entries=entries)
        pin = told.get("fingerprint") or None
        companion = self._stack.enter_context(
            contextlib.closing(Companion(link.url, pin=pin, key=told.get("key")))
        )
        golden = bundle.golden()
        (spec,) = bundle.manifest.inputs
        inputs = [[golden[f"input.{i}.{spec.name}"].copy()] for i in range(4)]
        own = [session.run(FORWARD, one) for one in inputs]
        if not self.factor:
            quickest = measure(lambda: session.run(FORWARD, inputs[0])).min_ms
            self.factor = max(1, round(self._device_ms / quickest))
        policy = Policy(mode=mode, deadline_ms=DEADLINE_MS)
        device = SlowDevice(session, self.factor)
        engine = OffloadEngine(bundle, artifact, device, companion=companion, policy=policy)
        self._stack.callback(engine.close)
        return Watch(engine, inputs, own, tolerance=TOLERANCE, deadline_ms=DEADLINE_MS)

    def close(self) -> None:
        """Close every client."""
        self._stack.close()


def rows(bench: Bench, folder: Path, only: list[str]) -> Iterator[Row]:
    """Every row, in an order that lets servers live until the last one."""
    with contextlib.ExitStack() as stack:
        settings = {"tls": "false", "auth": "false", "max_body_memory": BODY_MEMORY}
        plain = stack.enter_context(RealServer([bench.path], folder / "plain", settings))
        secure = stack.enter_context(RealServer([bench.path], folder / "secure"))
        for name, (served, run) in ROWS.items():
            if only and name not in only:
                continue
            server = {"plain": plain, "secure": secure}[served]
            scheme = "https" if served == "secure" else "http"
            with FaultProxy(server.address, scheme=scheme) as link:
                link.fault = GOOD
                yield run(name, bench, server, link)


Run = Callable[[str, Bench, RealServer, FaultProxy], Row]


def shaped(fault: Fault) -> Run:
    """A row for what the proxy does; it heals when the proxy stops."""

    def run(name: str, bench: Bench, server: RealServer, link: FaultProxy) -> Row:
        watch = bench.watch(link, server.told)
        row = split_first(watch, name, lambda: setattr(link, "fault", fault), seconds=SECONDS)
        link.fault = GOOD
        row.healed_ms = watch.until_split()
        return row

    return run


def flipped(name: str, bench: Bench, server: RealServer, link: FaultProxy) -> Row:
    """One bit of one output, without TLS."""
    watch = bench.watch(link, server.told)
    watch.until_split()
    spare = watch.frame()[0].bytes_down - 100
    fault = dataclasses.replace(GOOD, flip_down=1 << 20, spare=spare)
    return split_first(watch, name, lambda: setattr(link, "fault", fault), seconds=SECONDS)


def crowded(name: str, bench: Bench, server: RealServer, link: FaultProxy) -> Row:
    """Another client's promised body holds all the memory for bodies."""
    watch = bench.watch(link, server.told)
    model = bench.bundle.manifest.name
    with contextlib.ExitStack() as stack:

        def crowd() -> None:
            sock = stack.enter_context(socket.create_connection(server.address, timeout=5))
            head = f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: x\r\n"
            sock.sendall(f"{head}Content-Length: {BODY_MEMORY - 500}\r\n\r\nx".encode())

        row = split_first(watch, name, crowd, seconds=SECONDS)
    row.healed_ms = watch.until_split()
    return row


def keyless(name: str, bench: Bench, server: RealServer, link: FaultProxy) -> Row:
    """The server cannot read its keys."""
    watch, keys = bench.watch(link, server.told), server.state / "keys.json"
    held = keys.read_bytes()
    row = split_first(watch, name, lambda: keys.write_bytes(b"{"), seconds=SECONDS)
    keys.write_bytes(held)
    row.healed_ms = watch.until_split()
    return row


def other_bundle(name: str, bench: Bench, server: RealServer, link: FaultProxy) -> Row:
    """The client's bundle has the server's name and another id; offload is forced."""
    from tests.support.sealing import manifest_value, reseal

    copy = server.state.parent / "other.bundle"
    shutil.copytree(bench.path, copy)
    reseal(copy, manifest_value(copy) | {"source": "another export"})
    for report in copy.glob("report.*"):
        report.unlink()
    watch = bench.watch(link, server.told, bundle=open_bundle(copy), mode="force")
    return watch.row(name, seconds=SECONDS)


def impostor(name: str, bench: Bench, server: RealServer, link: FaultProxy) -> Row:
    """Somebody between, with a certificate of his own."""
    folder = server.state.parent
    files = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command = ["openssl", "req", "-x509", *curve, "-days", "2", *files, "-subj", "/CN=companion"]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    watch = bench.watch(link, server.told)

    def step_between() -> None:
        link.fault = Fault(impostor=context)
        link.drop()

    row = split_first(watch, name, step_between, seconds=SECONDS)
    if link.overheard:
        raise SystemExit(f"an impostor was told {link.overheard} bytes")
    return row


def corrupted(name: str, bench: Bench, server: RealServer, link: FaultProxy) -> Row:
    """The artifact is damaged on the phone's disk while it is loaded."""
    copy = server.state.parent / "live.bundle"
    shutil.copytree(bench.path, copy)
    bundle = open_bundle(copy)
    artifact = bundle.manifest.artifact("litert", "fp32")
    watch = bench.watch(link, server.told, bundle=bundle)

    def corrupt() -> None:
        with bundle.artifact_path(artifact).open("r+b") as file:
            file.seek(artifact.bytes // 3)
            file.write(bytes(artifact.bytes // 3))

    row = split_first(watch, name, corrupt, seconds=SECONDS)
    try:
        open_bundle(copy)
    except IntegrityFault as error:
        row.reasons = [str(error)]
    else:
        raise SystemExit("a damaged bundle was opened")
    return row


def clock_jump(name: str, bench: Bench, server: RealServer, _link: FaultProxy) -> Row:
    """The phone's wall clock goes a day forth and two back; offload is forced, and
    the device is as fast as this machine."""
    told, environment = server.told, jumping_clock(server.state.parent)
    arguments = [bench.path.resolve(), told["url"], told["fingerprint"], told["key"]]
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.clock_client", *map(str, arguments)],
        env={**os.environ, **python_path(), **environment},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seen = json.loads(done.stdout.splitlines()[-1])
    jumped = seen.pop("jumped_s")
    if [round(seconds, -2) for seconds in jumped] != [86_400, -172_800]:
        raise SystemExit(f"the clock did not jump: {jumped}")
    return Row(name, **seen)


def disk_full(name: str, bench: Bench, server: RealServer, link: FaultProxy) -> Row:
    """A bundle is downloaded to a disk of a megabyte, while frames are answered."""
    watch = bench.watch(link, server.told)
    with _small_disk(1) as disk, contextlib.closing(Companion(server.told["url"])) as companion:
        errors: list[HeadtailError] = []

        def download() -> None:
            try:
                bundle_id = bench.bundle.manifest.bundle_id
                companion.download(bundle_id, disk / "new.bundle")
            except HeadtailError as error:
                errors.append(error)

        thread = threading.Thread(target=download)
        row = split_first(watch, name, thread.start, seconds=SECONDS)
        thread.join()
        if not errors or (disk / "new.bundle").exists():
            raise SystemExit("a full disk took a bundle")
        row.reasons = [str(errors[0])]
    return row


def killed(name: str, bench: Bench, server: RealServer, link: FaultProxy) -> Row:
    """kill -9 of all of the server's processes."""
    return split_first(bench.watch(link, server.told), name, server.kill, seconds=SECONDS)


ROWS: dict[str, tuple[str, Run]] = {
    "blackholed": ("plain", shaped(Fault(swallow=True))),
    "slow by 400 ms": ("plain", shaped(dataclasses.replace(GOOD, hold_s=0.4))),
    "link 10 -> 0.1 Mbit/s": ("plain", shaped(SLOW)),
    "429": ("plain", crowded),
    "503": ("secure", keyless),
    "corrupt reply": ("plain", flipped),
    "corrupt reply under TLS": ("secure", shaped(dataclasses.replace(GOOD, flip_down=997))),
    "wrong bundle": ("plain", other_bundle),
    "certificate changed": ("secure", impostor),
    "clock jump": ("secure", clock_jump),
    "disk full": ("plain", disk_full),
    "bundle corrupted while live": ("plain", corrupted),
    "server killed": ("plain", killed),
}
# server and link are not concerned: no plan has to change
UNCHANGED = ("bundle corrupted while live", "clock jump", "disk full")


def steady(bench: Bench, folder: Path) -> dict[str, Any]:
    """Frames on the good link by mode, in turns; the prediction's error; what a decision costs."""
    settings = {"tls": "false", "auth": "false"}
    with (
        RealServer([bench.path], folder / "steady", settings) as server,
        FaultProxy(server.address) as link,
    ):
        link.fault = GOOD
        watch = bench.watch(link, server.told)
        watch.until_split()
        took: dict[str, list[float]] = {"off": [], "auto": []}
        errors, cuts = [], set()
        for turn in range(2 * STEADY_FRAMES):
            mode = ("off", "auto")[turn % 2]
            watch.engine.set_policy(Policy(mode=mode, deadline_ms=DEADLINE_MS))
            answer, ms, right = watch.frame()
            if not right:
                raise SystemExit(f"a wrong answer: {answer.where}")
            took[mode].append(ms)
            if answer.where == "split" and answer.decision.predicted_ms:
                errors.append(abs(answer.total_ms - answer.decision.predicted_ms) / answer.total_ms)
                cuts.add(f"{answer.cut} {answer.codec}")
        lines = watch.engine.trace.text().splitlines()
        situation = watch.engine.trace.records()[-1].situation
        began = time.perf_counter()
        for _ in range(200):
            decide(situation)
        decide_ms = (time.perf_counter() - began) * 5
        count, differing = replay(lines)
        return {
            "median_ms": {mode: statistics.median(ms) for mode, ms in took.items()},
            "prediction_error_median": statistics.median(errors) if errors else None,
            "routes": sorted(cuts),
            "decide_ms": decide_ms,
            "replayed": count,
            "replayed_otherwise": len(differing),
        }


def main() -> None:
    """See the module docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--device-ms", type=float, default=DEVICE_MS)
    parser.add_argument("--only", nargs="*", default=[], choices=sorted(ROWS))
    asked = parser.parse_args()
    bench, found = Bench(asked.bundle, asked.device_ms), []
    with tempfile.TemporaryDirectory(prefix="headtail-offload-") as folder:
        try:
            for row in rows(bench, Path(folder), asked.only):
                good = row.good or (row.fault in UNCHANGED and not row.wrong and not row.late)
                load = round(os.getloadavg()[0], 1)
                found.append(dataclasses.asdict(row) | {"good": good, "load_average": load})
                print(json.dumps(found[-1]), flush=True)
            figures = steady(bench, Path(folder))
        finally:
            bench.close()
    result = {
        "what": "frames through the real client while something is done to server or link",
        "timing_kind": "host",
        "bundle": bench.bundle.manifest.name,
        "bundle_id": bench.bundle.manifest.bundle_id,
        "device": f"this host's LiteRT, everything computed {bench.factor} times",
        "link": dataclasses.asdict(GOOD) | {"impostor": None},
        "deadline_ms": DEADLINE_MS,
        "allowance_ms": ALLOWANCE_MS,
        "tolerance": TOLERANCE,
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "commit": commit(),
        "versions": versions(),
        "rows": found,
        "steady": figures,
        "all_good": all(row["good"] for row in found),
    }
    if asked.output is not None and asked.only:
        held = json.loads(asked.output.read_text())
        held["rows"] = [row for row in held["rows"] if row["fault"] not in asked.only] + found
        held["all_good"] = all(row["good"] for row in held["rows"])
        result = held
    if asked.output is not None:
        asked.output.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")
    print(json.dumps({k: result[k] for k in ("bundle", "all_good", "steady")}))


if __name__ == "__main__":
    main()

"""The server when its disk is full: what it refuses, what goes on, and what works again afterwards.

Needs root, to mount a small tmpfs as the state directory; without, it ends the run and says so.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.server_clients import questions
from benchmarks.server_crowd import CALM_S, PATIENCE_S, Crowd, Report, executor_pid
from benchmarks.server_rig import OurServer, Subject
from benchmarks.tail_nets import DENSE_CLASSIFIER, write_bundle
from headtail.bundle import pack_zip

__all__ = ["disk_full"]

DISK_MIB = 256


def disk_full(subject: Subject, rounds: int) -> Report:
    """Fill the state directory's disk, publish to it, kill the executor, free it, publish again."""
    seen: dict[str, Any] = {}
    found: list[float | None] = []
    with (
        _small_disk(DISK_MIB) as disk,
        OurServer([subject.path], {"state_dir": str(disk)}) as server,
        Crowd(server.address, questions(subject)) as crowd,
    ):
        other = _other_bundle(subject, disk.parent)
        moment = time.perf_counter()
        _fill(disk / "ballast")
        seen["publish_while_full"] = _publish(server, other)
        found.append(crowd.recovery_s(moment))
        for _ in range(rounds):
            time.sleep(CALM_S)
            moment = time.perf_counter()
            os.kill(executor_pid(server), signal.SIGKILL)
            found.append(crowd.recovery_s(moment))
        (disk / "ballast").unlink()
        seen["publish_when_freed"] = _publish(server, other)
        moment = time.perf_counter()
        found.append(crowd.recovery_s(moment))
        shutil.rmtree(other)
    goals = {
        "refused while full": seen["publish_while_full"].get("ends_as") != "live",
        "published when freed": seen["publish_when_freed"].get("ends_as") == "live",
    }
    return Report(found, crowd.outcomes, seen, more_goals=goals)


@contextlib.contextmanager
def _small_disk(mib: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="headtail-disk-") as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", folder]
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"disk_full needs to mount a tmpfs: {done.stderr.strip()}")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)):
                    pass


def _other_bundle(subject: Subject, folder: Path) -> Path:
    """A folder with the zip of a bundle that the server does not hold: the same, renamed."""
    made = Path(tempfile.mkdtemp(prefix="headtail-other-", dir=folder))
    path = write_bundle(DENSE_CLASSIFIER, made)
    assert path.stem != subject.bundle.manifest.name
    pack_zip(Subject.open(path, None).bundle, made / "bundle.zip")
    return made


def _publish(server: OurServer, made: Path) -> dict[str, Any]:
    """PUT the whole zip: the status, and the state in which the bundle ends up."""
    published = Subject.open(made / f"{DENSE_CLASSIFIER.name}.bundle", None)
    bundle_id = published.bundle.manifest.bundle_id
    path = f"/v2/bundles/{bundle_id}"
    try:
        status, told = _asked(server, "PUT", path, (made / "bundle.zip").read_bytes())
    except OSError as error:  # refused before its body was read
        return {"status": None, "told": str(error)}
    state, stop = told.get("state", told.get("error")), time.perf_counter() + PATIENCE_S
    while state in ("checking", "loading") and time.perf_counter() < stop:
        time.sleep(0.1)
        state = _asked(server, "GET", f"{path}/status")[1].get("state")
    return {"status": status, "ends_as": state}


def _asked(
    server: OurServer, method: str, path: str, body: bytes | None = None
) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(*server.address, timeout=60)
    try:
        # one that refuses before it has read everything may have said why
        with contextlib.suppress(ConnectionError):
            connection.request(method, path, body)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()

"""What clients see of a server that things are done to, while they ask it without a pause.

    web, executor     kill -9 of that process, several times
    disk_full         the state directory's file system is full; a bundle is published to it
    bundle_deleted    a served directory is removed; and then the executor is killed as well
    clock_jump        the wall clock goes a day forth, two back and one forth (libfaketime)
    half_open         1,000 connections that begin a request and go no further

Four clients ask in closed loops, connect again when they are cut off, and ask again when they are
refused (`server_crowd.py`). Everything is measured from their side:

    recovery_s   from the fault to the moment when each of them had a right answer to a request sent
                 after it; the worst of all rounds
    answers      by status; `lost` was cut off, `hangs` had no answer within 10 s, `wrong answer`
                 differs from what the bare tail gives for that very frame

disk_full needs root, to mount a small tmpfs, and clock_jump Debian's package `faketime`; without
them they end the run and say so.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.server_clients import counted, questions
from benchmarks.server_crowd import CALM_S, GIVE_UP_S, Crowd, Report, executor_pid, web_pid
from benchmarks.server_disk import disk_full
from benchmarks.server_rig import OurServer, Subject

HALF_OPEN = 1000
CLOSED_S = 90.0  # how long to watch whether half-open connections are closed
FAKETIME = ("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",)
DAY_S = 86_400


def _killed(subject: Subject, find: Callable[[OurServer], int], rounds: int) -> Report:
    with OurServer([subject.path]) as server, Crowd(server.address, questions(subject)) as crowd:
        found: list[float | None] = []
        for _ in range(rounds):
            time.sleep(CALM_S)
            moment = time.perf_counter()
            os.kill(find(server), signal.SIGKILL)
            found.append(crowd.recovery_s(moment))
    return Report(found, crowd.outcomes, {"kills": rounds})


def web(subject: Subject, rounds: int) -> Report:
    """Kill -9 of the process that holds the connections."""
    return _killed(subject, web_pid, rounds)


def executor(subject: Subject, rounds: int) -> Report:
    """Kill -9 of the process that computes."""
    return _killed(subject, executor_pid, rounds)


def bundle_deleted(subject: Subject, _rounds: int) -> Report:
    """Remove a served directory beside another: who asks for it gets its answer, or a plain 404.

    The recovery is that of the clients of the bundle that stays.
    """
    with (
        _removable(subject) as (path, server, other),
        Crowd(server.address, questions(other)) as staying,
        Crowd(server.address, questions(subject)) as leaving,
    ):
        time.sleep(CALM_S)
        moment = time.perf_counter()
        shutil.rmtree(path)
        found = [staying.recovery_s(moment)]
        time.sleep(3 * CALM_S)
    served = [o.sent - moment for o in leaving.outcomes if o.kind == 200]
    seen = {
        "of_the_deleted": counted(leaving.outcomes),
        "last_served_after_s": round(max(served), 2),
    }
    plain = set(seen["of_the_deleted"]) <= {"200", "404"}
    return Report(found, staying.outcomes, seen, more_goals={"the deleted: 200 or 404": plain})


def deleted_and_killed(subject: Subject, _rounds: int) -> Report:
    """Remove a directory, then kill the executor: its clients may be refused, but not kept."""
    with (
        _removable(subject) as (path, server, _other),
        Crowd(server.address, questions(subject)) as crowd,
    ):
        time.sleep(CALM_S)
        shutil.rmtree(path)
        os.kill(executor_pid(server), signal.SIGKILL)
        time.sleep(GIVE_UP_S + CALM_S)
    return Report([], crowd.outcomes, must_recover=False)


@contextlib.contextmanager
def _removable(subject: Subject) -> Iterator[tuple[Path, OurServer, Subject]]:
    """A copy of the bundle that is served beside another one."""
    from benchmarks.tail_nets import DENSE_CLASSIFIER, write_bundle

    with tempfile.TemporaryDirectory(prefix="headtail-gone-") as folder:
        path = Path(folder) / subject.path.name
        shutil.copytree(subject.path, path)
        other = Subject.open(write_bundle(DENSE_CLASSIFIER, Path(folder)), "hidden")
        with OurServer([path, other.path]) as server:
            yield path, server, other


def clock_jump(subject: Subject, _rounds: int) -> Report:
    """Jumps of the wall clock, under requests with deadlines."""
    library = next((path for path in FAKETIME if Path(path).exists()), None)
    if library is None:
        raise SystemExit("clock_jump needs libfaketime (Debian: faketime)")
    with tempfile.TemporaryDirectory(prefix="headtail-clock-") as folder:
        offset = Path(folder) / "offset"
        environment = {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        _set_clock(offset, 0)
        asked = questions(subject, deadline_ms=5000)
        found: list[float | None] = []
        with (
            OurServer([subject.path], environment=environment) as server,
            Crowd(server.address, asked) as crowd,
        ):
            for jump in (DAY_S, -DAY_S, 0):
                time.sleep(CALM_S)
                moment = time.perf_counter()
                _set_clock(offset, jump)
                found.append(crowd.recovery_s(moment))
                if abs(_clock_of(environment) - time.time() - jump) > 60:
                    raise SystemExit("the clock did not jump: libfaketime has no effect here")
            time.sleep(CALM_S)
    return Report(found, crowd.outcomes, {"jumps_s": [DAY_S, -2 * DAY_S, DAY_S]})


def half_open(subject: Subject, _rounds: int) -> Report:
    """1,000 connections that send half a header or half a body, and stay."""
    with OurServer([subject.path]) as server, contextlib.ExitStack() as stack:
        with Crowd(server.address, questions(subject)) as crowd:
            time.sleep(CALM_S)
            moment = time.perf_counter()
            path = f"/v2/models/{subject.bundle.manifest.name}/infer"
            begun = [_begin(server, stack, path, n % 2 == 0) for n in range(HALF_OPEN)]
            opened_s = time.perf_counter() - moment
            found = [crowd.recovery_s(moment)]
            time.sleep(5 * CALM_S)
        closed, last_s = _watch_closing(begun, moment)
    seen = {
        "half_open": HALF_OPEN,
        "opened_within_s": round(opened_s, 2),
        "closed_by_the_server": closed,
        "last_closed_after_s": last_s,
    }
    goals = {"all half-open ones are closed": closed == HALF_OPEN}
    return Report(found, crowd.outcomes, seen, more_goals=goals)


SCENARIOS: dict[str, Callable[[Subject, int], Report]] = {
    "web": web,
    "executor": executor,
    "disk_full": disk_full,
    "bundle_deleted": bundle_deleted,
    "deleted_and_killed": deleted_and_killed,
    "clock_jump": clock_jump,
    "half_open": half_open,
}


def measure(subject: Subject, chosen: list[str], *, rounds: int) -> dict[str, Any]:
    """The section `faults`; `chosen` are keys of `SCENARIOS`."""
    found = {}
    for name in chosen:
        found[name] = SCENARIOS[name](subject, rounds).figures()
        print(f"{name:15} {found[name]}", flush=True)
    goals = {
        f"{name}: {goal}": met
        for name, figures in found.items()
        for goal, met in figures["goals"].items()
    }
    return subject.described() | {"scenarios": found, "goals": goals}


def _begin(
    server: OurServer, stack: contextlib.ExitStack, path: str, in_head: bool
) -> socket.socket:
    """A connection whose request ends within its headers, or within its body."""
    connection = stack.enter_context(socket.create_connection(server.address, timeout=10))
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode()
    connection.sendall(head + (b"Accept:" if in_head else b"Content-Length: 9000\r\n\r\nhalf"))
    connection.setblocking(False)
    return connection


def _watch_closing(begun: list[socket.socket], moment: float) -> tuple[int, float | None]:
    """How many of them the server ended, and when the last of those went."""
    poller = select.poll()
    named = {connection.fileno(): connection for connection in begun}
    for descriptor in named:
        poller.register(descriptor, select.POLLIN)
    last, stop = None, time.perf_counter() + CLOSED_S
    while named and time.perf_counter() < stop:
        for descriptor, _ in poller.poll(200):
            if _ended(named[descriptor]):
                poller.unregister(descriptor)
                del named[descriptor]
                last = time.perf_counter() - moment
    return len(begun) - len(named), None if last is None else round(last, 1)


def _ended(connection: socket.socket) -> bool:
    """Read what there is, a refusal for example; whether the end or a reset is behind it."""
    try:
        while connection.recv(4096):
            pass
    except BlockingIOError:
        return False
    except ConnectionResetError:
        pass
    return True


def _set_clock(file: Path, offset_s: int) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(f"{offset_s:+d}\n")
    fresh.rename(file)


def _clock_of(environment: dict[str, str]) -> float:
    ask = [sys.executable, "-c", "import time; print(time.time())"]
    told = subprocess.run(
        ask, env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return float(told.stdout)

"""Clients that never stop asking, what they saw of a fault, and which process is which.

Everything is measured from the clients' side; the pids come from the kernel's tables, so nothing of
the server's insides is assumed but that one process holds the connections and its sibling computes.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.server_clients import (
    HANGS,
    LOST,
    WRONG,
    Client,
    Outcome,
    Question,
    counted,
    percentiles,
    run,
)
from benchmarks.server_rig import OurServer, parents

GOAL_RECOVERY_S = 2.0
CLIENTS = 4
CALM_S = 1.0  # between faults
GIVE_UP_S = 10.0
PATIENCE_S = 30.0  # for a recovery; longer is no recovery


class Crowd:
    """Clients on a thread of their own, asking until the `with` block ends."""

    def __init__(self, address: tuple[str, int], asked: Sequence[Question]) -> None:
        self._address, self._asked = address, asked
        self._stopped = threading.Event()
        self.outcomes: list[Outcome] = []
        self._thread = threading.Thread(target=lambda: run(self._ask))

    def __enter__(self) -> Crowd:
        self._thread.start()
        if self.recovery_s(time.perf_counter()) is None:
            self.__exit__()
            raise SystemExit(f"the server does not answer: {counted(self.outcomes)}")
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def recovery_s(self, moment: float) -> float | None:
        """Wait for every client's first right answer to a request sent after `moment`, or None."""
        stop = time.perf_counter() + PATIENCE_S
        while time.perf_counter() < stop:
            first: dict[int, float] = {}
            for outcome in list(self.outcomes):
                if outcome.kind == 200 and outcome.sent >= moment:
                    first.setdefault(outcome.client, outcome.sent + outcome.took_s - moment)
            if len(first) == CLIENTS:
                return max(first.values())
            time.sleep(0.005)
        return None

    async def _ask(self) -> None:
        await asyncio.gather(*(self._client(number) for number in range(CLIENTS)))

    async def _client(self, number: int) -> None:
        turn = number
        while not self._stopped.is_set():
            began = time.perf_counter()
            try:
                client = await Client.connect(self._address, number, give_up_s=GIVE_UP_S)
            except OSError:
                self.outcomes.append(Outcome(LOST, began, time.perf_counter() - began, number))
                await asyncio.sleep(0.01)
                continue
            while not self._stopped.is_set() and not client.closed:
                outcome = await client.ask(self._asked[turn % len(self._asked)])
                self.outcomes.append(outcome)
                turn += 1
                if outcome.kind not in (200, LOST):
                    await asyncio.sleep(0.01)  # refused: a moment's rest, not Retry-After's second
            client.close()


@dataclasses.dataclass
class Report:
    """One scenario: recoveries in seconds (None: never), all outcomes, and what else was seen."""

    recoveries_s: list[float | None]
    outcomes: list[Outcome]
    seen: dict[str, Any] = dataclasses.field(default_factory=dict)
    must_recover: bool = True
    more_goals: dict[str, bool] = dataclasses.field(default_factory=dict)

    def figures(self) -> dict[str, Any]:
        """For the result."""
        kinds = counted(self.outcomes)
        known = [seconds for seconds in self.recoveries_s if seconds is not None]
        whole = len(known) == len(self.recoveries_s) and bool(known)
        worst = max(known) if whole else None
        slowest = max((o.took_s for o in self.outcomes), default=0.0)
        goals = {
            "0 wrong answers": WRONG not in kinds,
            "0 hangs": HANGS not in kinds,
            "0 of 500": "500" not in kinds,
            **self.more_goals,
        }
        if self.must_recover:
            recovered = worst is not None and worst <= GOAL_RECOVERY_S
            goals[f"recovery <= {GOAL_RECOVERY_S} s"] = recovered
        return {
            "recovery_s": None if worst is None else round(worst, 3),
            "recoveries_s": [None if s is None else round(s, 3) for s in self.recoveries_s],
            "answers": kinds,
            "slowest_s": round(slowest, 3),
            **percentiles(self.outcomes),
            **self.seen,
            "goals": goals,
        }


def web_pid(server: OurServer) -> int:
    """The pid that holds the server's end of an established connection: its web process."""
    port = f"{server.address[1]:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    held = {f"socket:[{f[9]}]" for f in lines if f[1].endswith(f":{port}") and f[3] == "01"}
    for pid in server.processes():
        with contextlib.suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(descriptor.readlink()) in held:
                        return pid
    raise SystemExit("no process of the server holds a connection")


def executor_pid(server: OurServer) -> int:
    """The web process's sibling."""
    web, tree, above = web_pid(server), server.processes(), parents()
    if above[web] not in tree:
        raise SystemExit("this server is one process: it has no executor of its own")
    for pid in tree:
        if pid != web and above.get(pid) == above[web]:
            return pid
    raise SystemExit(f"no executor beside the web process {web}")
